#include "anvil/counters.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <numeric>

namespace postern::anvil {

namespace {

using ipc::anvil::Event;

// In the order and words that log readers know.
struct NamedEvent {
  Event event;
  std::string_view name;
};
constexpr std::array kRates = {
    NamedEvent{Event::kConnection, "connection"}, NamedEvent{Event::kMessage, "message"},
    NamedEvent{Event::kRecipient, "recipient"}, NamedEvent{Event::kNewTls, "newtls"},
    NamedEvent{Event::kAuth, "auth"}};

// "Nov 24 17:00:00"
std::string log_time(Time time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%b %e %H:%M:%S", &parts);
  return {text.data(), size};
}

std::size_t index_of(Event event) { return static_cast<std::size_t>(event); }

}  // namespace

std::int64_t Counters::Client::connections() const {
  return std::accumulate(
      shares.begin(), shares.end(), std::int64_t{0},
      [](std::int64_t sum, const Share& share) { return sum + share.connections; });
}

void Counters::Peak::note(std::int64_t seen, const std::string& who, Time when) {
  if (seen <= value) return;
  value = seen;
  client = who;
  at = when;
}

std::pair<const std::string, Counters::Client>& Counters::touch(std::string_view service,
                                                                std::string_view client, Time now) {
  if (clients_.size() >= kMaxClients) {
    forget_idle(now);
    if (clients_.size() >= kMaxClients) {
      // A flood of addresses within one time unit: it is not to be counted, only to be survived.
      clients_.clear();
    }
  }
  const auto [place, is_new] = clients_.try_emplace(fmt::format("{}:{}", service, client));
  // A clock that was set back begins a new unit, too.
  if (is_new || now - place->second.start >= unit_ || now < place->second.start) {
    place->second.start = now;
    place->second.rates = {};
  }
  if (clients_.size() > peak_clients_) {
    peak_clients_ = clients_.size();
    peak_clients_at_ = now;
  }
  return *place;
}

void Counters::set_share(std::pair<const std::string, Client>& client, std::uint64_t source,
                         std::int64_t connections, Time now) {
  auto& shares = client.second.shares;
  const auto own = std::find_if(shares.begin(), shares.end(),
                                [&](const Share& share) { return share.source == source; });
  if (connections <= 0) {
    if (own != shares.end()) shares.erase(own);
    return;
  }
  if (own != shares.end()) {
    own->connections = connections;
  } else {
    shares.push_back({source, connections});
  }
  peak_connections_.note(client.second.connections(), client.first, now);
}

ipc::anvil::Counted Counters::count(std::uint64_t source, const ipc::anvil::Count& request,
                                    Time now) {
  const std::size_t event = index_of(request.event);
  if (event >= ipc::anvil::kEvents) return {};
  auto& client = touch(request.service, request.client, now);
  const std::int64_t rate = ++client.second.rates[event];
  peak_rates_[event].note(rate, client.first, now);
  if (request.event == Event::kConnection) set_share(client, source, request.connections, now);
  return {rate, client.second.connections()};
}

void Counters::set_connections(std::uint64_t source, const ipc::anvil::Connections& notice,
                               Time now) {
  const auto known = clients_.find(fmt::format("{}:{}", notice.service, notice.client));
  if (known != clients_.end()) set_share(*known, source, notice.connections, now);
}

void Counters::add(const ipc::anvil::Tally& tally, Time now) {
  for (const auto& entry : tally.clients) {
    auto& client = touch(tally.service, entry.client, now);
    for (std::size_t i = 0; i < std::min(entry.events.size(), ipc::anvil::kEvents); ++i) {
      client.second.rates[i] += std::max<std::int64_t>(entry.events[i], 0);
      peak_rates_[i].note(client.second.rates[i], client.first, now);
    }
    peak_connections_.note(entry.peak, client.first, now);
  }
}

void Counters::forget_source(std::uint64_t source) {
  for (auto& [name, client] : clients_) {
    std::erase_if(client.shares, [&](const Share& share) { return share.source == source; });
  }
}

std::vector<std::string> Counters::take_statistics() {
  std::vector<std::string> lines;
  // Rates of connections come before their count, the others after it.
  const auto add_rate = [&](const NamedEvent& kind) {
    Peak& peak = peak_rates_[index_of(kind.event)];
    if (peak.value > 0) {
      lines.push_back(fmt::format("statistics: max {} rate {}/{}s for ({}) at {}", kind.name,
                                  peak.value, unit_.count(), peak.client, log_time(peak.at)));
    }
    peak = {};
  };
  add_rate(kRates.front());
  if (peak_connections_.value > 0) {
    lines.push_back(fmt::format("statistics: max connection count {} for ({}) at {}",
                                peak_connections_.value, peak_connections_.client,
                                log_time(peak_connections_.at)));
    peak_connections_ = {};
  }
  for (const NamedEvent& kind : kRates) {
    if (kind.event != Event::kConnection) add_rate(kind);
  }
  if (peak_clients_ > 0) {
    lines.push_back(fmt::format("statistics: max cache size {} at {}", peak_clients_,
                                log_time(peak_clients_at_)));
    peak_clients_ = 0;
  }
  return lines;
}

void Counters::forget_idle(Time now) {
  std::erase_if(clients_, [&](const auto& entry) {
    return entry.second.shares.empty() &&
           (now - entry.second.start >= unit_ || now < entry.second.start);
  });
}

}  // namespace postern::anvil
