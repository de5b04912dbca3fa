// network_list.h - whether a list of networks has an address, with the tables that it names
// (networks.h leaves those to its caller).

#pragma once

#include "common/base/result.h"
#include "common/config/networks.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"

namespace postern::policy {

// `networks` must live until the answer is there. A table that fails is an error that names it:
// the caller decides on which side it is safe to err.
[[nodiscard]] loop::Task<Result<bool>> is_in_networks(ipc::TablesClient& tables,
                                                      const config::Networks& networks,
                                                      config::IpAddress address);

}  // namespace postern::policy
