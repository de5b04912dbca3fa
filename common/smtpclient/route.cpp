#include "common/smtpclient/route.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/dns/wire.h"

namespace postern::smtpclient {

namespace {

using ipc::resolver::Status;

struct Candidate {
  Endpoint endpoint;
  std::int64_t preference = 0;
  bool is_ipv6 = false;
};

Route failed(std::string_view status, std::string text) {
  Route out;
  out.failure = own_failure(status, std::move(text));
  return out;
}

Route loops_back(const Destination& destination) {
  Route out = failed("5.4.6", fmt::format("mail for {} loops back to myself", destination.host));
  out.is_loop = out.is_ours = true;
  return out;
}

// Other ports are another service of this machine: a content filter.
bool looks_for_loops(const Destination& destination, const Settings& settings) {
  return !settings.is_lmtp() && destination.port == settings.smtp_port;
}

void shuffle(std::vector<Candidate>& list, std::size_t first, std::size_t last,
             const Random& random) {
  for (std::size_t left = last - first; left > 1; --left) {
    std::swap(list[first + random(left)], list[first + left - 1]);
  }
}

// Equals in random order, then the preferred address family in front of the other.
void order(std::vector<Candidate>& list, const Settings& settings, const Random& random) {
  std::ranges::sort(
      list, [](const Candidate& a, const Candidate& b) { return a.preference < b.preference; });
  const std::string& wanted = settings.params.smtp_address_preference;
  for (std::size_t first = 0; first < list.size();) {
    std::size_t last = first;
    while (last < list.size() && list[last].preference == list[first].preference) ++last;
    if (settings.params.smtp_randomize_addresses) shuffle(list, first, last, random);
    if (wanted == "ipv4" || wanted == "ipv6") {
      const bool ipv6_last = wanted == "ipv4";
      std::vector<Candidate> sorted;
      for (const bool second : {false, true}) {
        for (std::size_t i = first; i < last; ++i) {
          if ((list[i].is_ipv6 == ipv6_last) == second) sorted.push_back(list[i]);
        }
      }
      std::ranges::move(sorted, list.begin() + static_cast<std::ptrdiff_t>(first));
    }
    first = last;
  }
}

// At most the limit, but of both families where there are both: one of them may not work here.
void limit_addresses(std::vector<Candidate>& list, const Settings& settings) {
  const auto limit = static_cast<std::size_t>(settings.params.smtp_mx_address_limit);
  if (limit == 0 || list.size() <= limit) return;
  if (settings.params.smtp_balance_inet_protocols && limit >= 2) {
    const bool family = list.front().is_ipv6;
    const auto other = std::ranges::find_if(
        list, [&](const Candidate& candidate) { return candidate.is_ipv6 != family; });
    const auto last = list.begin() + static_cast<std::ptrdiff_t>(limit) - 1;
    if (other != list.end() && other > last) std::iter_swap(last, other);
  }
  list.resize(limit);
}

std::vector<Candidate> gather(const Destination& destination, const ipc::resolver::Hosts& hosts) {
  std::vector<Candidate> list;
  for (const auto& host : hosts.hosts) {
    const DnsTrust trust{hosts.is_authenticated, host.is_authenticated, host.canonical_name};
    for (const auto& address : host.addresses) {
      const auto port = host.port == 0 ? destination.port : static_cast<std::uint16_t>(host.port);
      list.push_back({{host.name, address, port, trust},
                      host.preference,
                      address.find(':') != std::string::npos});
    }
  }
  return list;
}

// No address at all: the failure that leaves most hope. Where the hosts file counts it is not DNS
// alone that has no answer.
Route without_addresses(const Destination& destination, const ipc::resolver::Hosts& hosts,
                        const Settings& settings) {
  std::string_view name = destination.host;
  std::string error = hosts.error;
  bool is_temporary = hosts.status == Status::kTemporary;
  for (const auto& host : hosts.hosts) {
    if (host.status == Status::kFound) continue;
    if (is_temporary && host.status != Status::kTemporary) continue;
    is_temporary = is_temporary || host.status == Status::kTemporary;
    error = host.error;
    name = host.name;
  }
  if (is_temporary) return failed("4.4.3", std::move(error));
  const bool defers = hosts.has_mx && settings.params.smtp_defer_if_no_mx_address_found;
  if (settings.use_hosts_file) {
    error = fmt::format("unable to look up host {}: Name or service not known", name);
  }
  return failed(defers ? "4.4.4" : "5.4.4", std::move(error));
}

}  // namespace

std::optional<Route> route_literal(const Destination& destination, const Settings& settings) {
  const auto address = dns::parse_address(destination.host);
  if (!address) return std::nullopt;
  if (address->is_ipv6 ? !settings.use_ipv6 : !settings.use_ipv4) {
    return failed("5.4.4", fmt::format("Name service error for {}: invalid host or domain name",
                                       destination.host));
  }
  const std::string text = address->to_text();
  if (looks_for_loops(destination, settings) && settings.own_addresses.contains(text)) {
    return loops_back(destination);
  }
  Route out;
  out.targets.push_back({destination.host, text, destination.port});
  return out;
}

Route plan_route(const Destination& destination, const ipc::resolver::Hosts& hosts,
                 const Settings& settings, const Random& random) {
  if (hosts.is_null_mx) {
    return failed("5.1.0",
                  fmt::format("Domain {} does not accept mail (nullMX)", destination.host));
  }
  std::vector<Candidate> list = gather(destination, hosts);
  if (list.empty()) return without_addresses(destination, hosts, settings);
  // Servers of SRV records are in order, by weights that nobody here knows.
  if (!hosts.has_srv) order(list, settings, random);

  Route out;
  if (looks_for_loops(destination, settings)) {
    const auto own = std::ranges::find_if(list, [&](const Candidate& candidate) {
      return settings.own_addresses.contains(candidate.endpoint.address);
    });
    if (own != list.end()) {
      out.is_ours = true;
      const bool is_ranked = hosts.has_mx || hosts.has_srv;
      const std::int64_t cut = is_ranked ? own->preference : 0;
      std::erase_if(list, [&](const Candidate& candidate) { return candidate.preference >= cut; });
      if (list.empty()) {
        // Was there a better one, whose address cannot be found just now?
        const bool has_better = std::ranges::any_of(
            hosts.hosts, [&](const auto& host) { return is_ranked && host.preference < cut; });
        if (has_better) {
          out.failure =
              failed("4.4.4", fmt::format("unable to find primary relay for {}", destination.host))
                  .failure;
          return out;
        }
        return loops_back(destination);
      }
    }
  }
  limit_addresses(list, settings);
  for (auto& candidate : list) out.targets.push_back(std::move(candidate.endpoint));
  return out;
}

}  // namespace postern::smtpclient
