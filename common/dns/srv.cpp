#include "common/dns/srv.h"

#include <algorithm>
#include <numeric>
#include <span>

namespace postern::dns {

namespace {

// All of one priority.
void draw(std::span<Srv> equals, const Random& random) {
  // Those without a weight are to have a small chance, too.
  const auto weight_of = [](const Srv& srv) { return std::size_t{srv.weight} * 100 + 1; };
  for (; equals.size() > 1; equals = equals.subspan(1)) {
    const std::size_t sum =
        std::accumulate(equals.begin(), equals.end(), std::size_t{0},
                        [&](std::size_t all, const Srv& srv) { return all + weight_of(srv); });
    std::size_t left = random(sum);
    const auto chosen = std::ranges::find_if(equals, [&](const Srv& srv) {
      const std::size_t weight = weight_of(srv);
      if (left < weight) return true;
      left -= weight;
      return false;
    });
    std::iter_swap(equals.begin(), chosen);
  }
}

}  // namespace

SrvPlan plan_srv(const std::vector<Record>& records, const Random& random) {
  SrvPlan plan;
  bool has_null = false;
  for (const Record& record : records) {
    const Srv* srv = std::get_if<Srv>(&record.data);
    if (srv == nullptr) continue;
    if (srv->target.empty()) has_null = true;
    if (is_host_name(srv->target) && srv->port != 0) plan.servers.push_back(*srv);
  }
  plan.is_null = has_null && plan.servers.empty();
  std::ranges::sort(plan.servers, {}, &Srv::priority);
  for (auto first = plan.servers.begin(); first != plan.servers.end();) {
    const auto last = std::find_if(first, plan.servers.end(),
                                   [&](const Srv& srv) { return srv.priority != first->priority; });
    draw({first, last}, random);
    first = last;
  }
  return plan;
}

}  // namespace postern::dns
