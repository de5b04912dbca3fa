// rebuilds.h - auto_rebuild_maps: postmap runs for tables whose source has changed.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "common/config/snapshot.h"

namespace postern::master {

class Rebuilds {
 public:
  // Starts a postmap for each stale table of the configuration, unless some run already.
  void begin(const std::shared_ptr<const config::Snapshot>& snapshot);
  // Whether the process that has ended, with this status of wait(2), was one of them.
  bool has_ended(pid_t pid, int status);

 private:
  std::map<pid_t, std::string> running_;         // the table that each makes
  std::map<std::string, std::int64_t> sources_;  // by table: the source's time when it was made
};

}  // namespace postern::master
