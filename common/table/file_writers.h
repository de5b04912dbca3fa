// file_writers.h - entries to the file of a table: one function for each library that does it.
//
// The file is there, empty, and nobody else's: the Builder has made it, flushes it and puts it in
// its place. An error's text is the library's reason alone.

#pragma once

#include <cstddef>
#include <string>

#include "common/base/result.h"
#include "common/table/entries.h"

namespace postern::table {

enum class DbKind : unsigned char { kHash, kBtree };

// `cache_size` is the least; more is taken for more entries.
[[nodiscard]] Result<void> write_db(const std::string& path, DbKind kind, const Entries& entries,
                                    std::size_t cache_size);
// `map_size` is the least, and grows when it must.
[[nodiscard]] Result<void> write_lmdb(const std::string& path, const Entries& entries,
                                      std::size_t map_size);
[[nodiscard]] Result<void> write_cdb(int fd, const Entries& entries);

}  // namespace postern::table
