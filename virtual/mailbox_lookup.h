// mailbox_lookup.h - which mailbox an address has, and whose rights it is written with.
//
// virtual_mailbox_maps, virtual_uid_maps and virtual_gid_maps are each asked for the whole address,
// the address without its extension, and @domain, in this order.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/tables_client.h"
#include "common/loop/task.h"

namespace postern::virtual_mailbox {

[[nodiscard]] std::vector<ipc::tables::Key> lookup_keys(std::string_view address,
                                                        std::string_view recipient_delimiter);

// What a list of only static: tables says of every key; a view into the list.
[[nodiscard]] std::optional<std::string_view> static_value(const std::vector<std::string>& maps);

// The value, or nothing. A list of only static: tables is answered without asking.
[[nodiscard]] loop::Task<Result<std::optional<std::string>>> look_up(
    ipc::TablesClient& tables, std::vector<std::string> maps, std::vector<ipc::tables::Key> keys);

// base/value, or an error for a value that leads out of base.
[[nodiscard]] Result<std::string> mailbox_path(std::string_view base, std::string_view value);

// A number of at least `minimum`, and not root's.
[[nodiscard]] std::optional<unsigned> parse_id(std::string_view text, std::int64_t minimum);

}  // namespace postern::virtual_mailbox
