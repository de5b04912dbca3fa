#include "common/dns/mx.h"

#include <algorithm>

namespace postern::dns {

void order_mx(std::vector<Mx>& hosts, const Random& random) {
  std::ranges::sort(hosts, {}, &Mx::preference);
  for (auto first = hosts.begin(); first != hosts.end();) {
    const auto last = std::find_if(
        first, hosts.end(), [&first](const Mx& mx) { return mx.preference != first->preference; });
    for (auto left = last - first; left > 1; --left) {
      const std::size_t pick = random(static_cast<std::size_t>(left));
      std::iter_swap(first + (left - 1), first + static_cast<std::ptrdiff_t>(pick));
    }
    first = last;
  }
}

bool cut_at_own(std::vector<Mx>& hosts, const std::function<bool(std::string_view host)>& is_own) {
  const auto own = std::ranges::find_if(hosts, [&is_own](const Mx& mx) { return is_own(mx.host); });
  if (own == hosts.end()) return false;
  const auto first = std::ranges::find(hosts, own->preference, &Mx::preference);
  hosts.erase(first, hosts.end());
  return true;
}

MxPlan plan_mx(const std::vector<Record>& records, const Random& random,
               const std::function<bool(std::string_view host)>& is_own) {
  MxPlan plan;
  bool has_null = false;
  for (const Record& record : records) {
    const Mx* mx = std::get_if<Mx>(&record.data);
    if (mx == nullptr) continue;
    if (mx->host.empty()) has_null = true;
    // An IPv4 address in a host's place is against RFC 5321 5.1, and there are domains that have no
    // other.
    if (is_host_name(mx->host)) plan.hosts.push_back(*mx);
  }
  plan.is_null = has_null && plan.hosts.empty();
  order_mx(plan.hosts, random);
  if (is_own) plan.loops_back = cut_at_own(plan.hosts, is_own) && plan.hosts.empty();
  return plan;
}

}  // namespace postern::dns
