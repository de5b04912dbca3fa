// mx.h - in which order the mail servers of a domain are tried. Pure.
//
// RFC 5321 5.1: by preference, equals in random order; a server that finds itself among them cuts
// off itself and all that are as far away as it is or further, since these would send the mail back
// here. RFC 7505: a single record with the root as its host means that the domain takes no mail.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/dns/wire.h"

namespace postern::dns {

struct MxPlan {
  std::vector<Mx> hosts{};
  bool is_null = false;     // takes no mail: 5.1.10
  bool loops_back = false;  // nothing left but ourselves: 5.4.6
};

// A number below its argument, which is 1 or more.
using Random = std::function<std::size_t(std::size_t)>;

// Sorts by preference and shuffles equals.
void order_mx(std::vector<Mx>& hosts, const Random& random);

// Drops the hosts as far away as the nearest one of ours, or further. `hosts` in order.
[[nodiscard]] bool cut_at_own(std::vector<Mx>& hosts,
                              const std::function<bool(std::string_view host)>& is_own);

// The whole of it, from the records of an MX answer. `is_own` may be empty: look at addresses later
// with cut_at_own. A null MX beside others is ignored, as are hosts that are no host names. IPv4
// addresses in their place are kept.
[[nodiscard]] MxPlan plan_mx(const std::vector<Record>& records, const Random& random,
                             const std::function<bool(std::string_view host)>& is_own = {});

}  // namespace postern::dns
