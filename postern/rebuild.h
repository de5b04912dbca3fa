// rebuild.h - auto_rebuild_maps: indexed tables whose source has changed are made anew.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/config/load.h"
#include "common/config/values.h"

namespace postern::control {

struct StaleTable {
  std::string table;  // "lmdb:/etc/postfix/access"
  bool is_aliases = false;
  std::int64_t source_time = 0;  // when its source was changed, nanoseconds since 1970
};
// Those of main.cf and master.cf, once each: the index is older than its source, or missing.
[[nodiscard]] std::vector<StaleTable> find_stale_tables(const config::Snapshot& snapshot);

// Starts postmap or postalias for one and does not wait for its end.
[[nodiscard]] Result<pid_t> start_rebuild(const StaleTable& stale, const config::Values& values,
                                          const std::string& directory);

// Runs postmap or postalias for each of them, where auto_rebuild_maps says so. What cannot be made
// is told by them; the old index stays.
void rebuild_tables(const config::Loaded& loaded, const std::string& directory);

}  // namespace postern::control
