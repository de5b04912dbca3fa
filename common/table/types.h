// types.h - the openers of the table types that are built in; open_table() picks among them.

#pragma once

#include <string_view>

#include "common/table/table.h"

namespace postern::table {

[[nodiscard]] OpenedTable open_hash(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_btree(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_lmdb(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_cdb(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_texthash(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_inline(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_internal(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_environ(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_static(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_fail(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_debug(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_unionmap(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_pipemap(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_randmap(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_regexp(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_pcre(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_cidr(std::string_view name, const OpenOptions& options);
[[nodiscard]] OpenedTable open_unix(std::string_view name, const OpenOptions& options);

}  // namespace postern::table
