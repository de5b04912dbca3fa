// debug_peers.h - the peers whose dialogue the administrator wants to see (debug_peer_list,
// debug_peer_level).
//
// Commands and replies are logged, never content and never a login: what stands behind AUTH, and
// the answers to its challenges, are left out.

#pragma once

#include <string>
#include <string_view>

#include "common/config/networks.h"
#include "common/config/site_list.h"
#include "common/config/values.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"

namespace postern::policy {

class DebugPeers {
 public:
  DebugPeers() = default;
  explicit DebugPeers(const config::Values& values);

  // Nobody's dialogue is wanted: nothing need be asked.
  [[nodiscard]] bool is_empty() const {
    return level_ == 0 || (names_.empty() && addresses_.empty());
  }
  // By name (or next hop) or address. A table that fails says no.
  [[nodiscard]] loop::Task<bool> includes(ipc::TablesClient& tables, std::string name,
                                          std::string address) const;

 private:
  std::int64_t level_ = 0;
  config::SiteList names_;  // and tables, asked for both
  config::Networks addresses_;
};

// A command as it is logged: without what a login may hold.
[[nodiscard]] std::string loggable_command(std::string_view line);

}  // namespace postern::policy
