// rebuild.h - auto_rebuild_maps: indexed tables whose source has changed are made anew.

#pragma once

#include <string>
#include <vector>

#include "common/config/load.h"

namespace postern::control {

struct StaleTable {
  std::string table;  // "lmdb:/etc/postfix/access"
  bool is_aliases = false;
};
// Those of main.cf and master.cf, once each: the index is older than its source, or missing.
[[nodiscard]] std::vector<StaleTable> find_stale_tables(const config::Snapshot& snapshot);

// Runs postmap or postalias for each of them, where auto_rebuild_maps says so. What cannot be made
// is told by them; the old index stays.
void rebuild_tables(const config::Loaded& loaded, const std::string& directory);

}  // namespace postern::control
