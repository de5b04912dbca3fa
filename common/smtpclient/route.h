// route.h - from the answer of the resolver to the list of addresses to be tried. Pure.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/ipc/resolver.h"
#include "common/smtpclient/plan.h"
#include "common/smtpclient/settings.h"

namespace postern::smtpclient {

struct Route {
  std::vector<Endpoint> targets{};  // in the order to be tried
  Verdict failure{};                // with a status where there is no target
  bool is_loop = false;             // the mail is for ourselves
  // We are one of the destination's mail servers: what the better ones do not take waits here. A
  // fallback relay would send it to us again.
  bool is_ours = false;
};

// A number below its argument, which is 1 or more.
using Random = std::function<std::size_t(std::size_t)>;

// The literal address of a destination; nothing for a name.
[[nodiscard]] std::optional<Route> route_literal(const Destination& destination,
                                                 const Settings& settings);
[[nodiscard]] Route plan_route(const Destination& destination, const ipc::resolver::Hosts& hosts,
                               const Settings& settings, const Random& random);

}  // namespace postern::smtpclient
