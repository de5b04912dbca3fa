#include "master/rebuilds.h"

#include <utility>

#include "common/log/log.h"
#include "postern/rebuild.h"

namespace postern::master {

void Rebuilds::begin(const std::shared_ptr<const config::Snapshot>& snapshot) {
  const config::Values values(snapshot);
  if (!running_.empty() || !values.flag("auto_rebuild_maps")) return;
  for (const auto& stale : control::find_stale_tables(*snapshot)) {
    // A source that is wrong is tried again when somebody has changed it.
    auto& tried = sources_[stale.table];
    if (std::exchange(tried, stale.source_time) == stale.source_time) continue;
    const auto pid = control::start_rebuild(stale, values, snapshot->config_directory);
    if (pid) {
      running_.emplace(*pid, stale.table);
    } else {
      log::warning("{}: {}", stale.table, pid.error().text);
    }
  }
}

bool Rebuilds::has_ended(pid_t pid, int status) {
  const auto ended = running_.extract(pid);
  if (ended.empty()) return false;
  if (status != 0) log::warning("{}: it could not be made", ended.mapped());
  return true;
}

}  // namespace postern::master
