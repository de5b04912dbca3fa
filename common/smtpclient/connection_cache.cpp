#include "common/smtpclient/connection_cache.h"

#include <algorithm>

namespace postern::smtpclient {

namespace {
constexpr std::chrono::milliseconds kSweep{200};
}

ConnectionCache::ConnectionCache(SettingsPtr settings)
    : settings_(std::move(settings)), timer_([this] { expire(); }) {}

void ConnectionCache::put(std::string_view destination, ConnectionPtr connection) {
  const auto& params = settings_->params;
  const auto limit = std::min<std::chrono::seconds>(params.smtp_connection_cache_time_limit,
                                                    params.connection_cache_ttl_limit);
  const auto now = loop::Clock::now();
  const auto uses = params.smtp_connection_reuse_count_limit;
  // So often it is used again: the first time is none of them.
  const bool is_worn = (uses > 0 && connection->uses > uses) ||
                       now - connection->since() >= params.smtp_connection_reuse_time_limit;
  if (is_worn || limit.count() <= 0 || count_ >= kMaxKept) {
    say_goodbye(std::move(connection), settings_);
    return;
  }
  std::string relay = connection->endpoint().relay();
  auto& endpoints = endpoints_of_[std::string(destination)];
  if (std::ranges::find(endpoints, relay) == endpoints.end()) {
    if (endpoints.size() >= kMaxEndpoints) endpoints.erase(endpoints.begin());
    endpoints.push_back(relay);
  }
  by_endpoint_[std::move(relay)].push_back({std::move(connection), now + limit});
  ++count_;
  if (!timer_.is_armed()) timer_.arm(now + limit);
}

ConnectionPtr ConnectionCache::take(const std::string& relay, const Fits& fits) {
  const auto found = by_endpoint_.find(relay);
  if (found == by_endpoint_.end()) return nullptr;
  auto& kept = found->second;
  for (std::size_t i = kept.size(); i-- > 0;) {
    if (!fits(*kept[i].connection)) continue;
    ConnectionPtr connection = std::move(kept[i].connection);
    kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(i));
    --count_;
    if (connection->is_idle()) return connection;
  }
  return nullptr;
}

ConnectionPtr ConnectionCache::take_for_destination(std::string_view destination,
                                                    const Fits& fits) {
  if (count_ == 0) return nullptr;
  const auto found = endpoints_of_.find(std::string(destination));
  if (found == endpoints_of_.end()) return nullptr;
  for (auto relay = found->second.rbegin(); relay != found->second.rend(); ++relay) {
    if (ConnectionPtr connection = take(*relay, fits)) return connection;
  }
  return nullptr;
}

ConnectionPtr ConnectionCache::take_for_endpoint(const Endpoint& endpoint, const Fits& fits) {
  return count_ == 0 ? nullptr : take(endpoint.relay(), fits);
}

void ConnectionCache::expire() {
  const auto now = loop::Clock::now();
  for (auto& [relay, kept] : by_endpoint_) {
    // Oldest in front: they were put at the end, and taken from there.
    const auto fresh =
        std::ranges::find_if(kept, [&](const Kept& one) { return one.expires > now; });
    for (auto old = kept.begin(); old != fresh; ++old) {
      say_goodbye(std::move(old->connection), settings_);
      --count_;
    }
    kept.erase(kept.begin(), fresh);
  }
  std::erase_if(by_endpoint_, [](const auto& entry) { return entry.second.empty(); });
  for (auto& [destination, endpoints] : endpoints_of_) {
    std::erase_if(endpoints, [&](const auto& relay) { return !by_endpoint_.contains(relay); });
  }
  std::erase_if(endpoints_of_, [](const auto& entry) { return entry.second.empty(); });
  if (count_ > 0) timer_.arm(now + kSweep);
}

void ConnectionCache::clear() {
  for (auto& [relay, kept] : by_endpoint_) {
    for (auto& one : kept) say_goodbye(std::move(one.connection), settings_);
  }
  by_endpoint_.clear();
  endpoints_of_.clear();
  count_ = 0;
  timer_.disarm();
}

}  // namespace postern::smtpclient
