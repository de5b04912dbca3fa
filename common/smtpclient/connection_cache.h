// connection_cache.h - connections that wait a moment for the next message to the same place.
//
// By endpoint, with a memory of which endpoints a destination led to: a delivery first asks by its
// next hop, which spares it the look-up, then, when it has looked up, by endpoint. The one used
// last is used first. Bounded in number; each is kept for a time limit only, then gets its QUIT.

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/loop/loop.h"
#include "common/smtpclient/connection.h"

namespace postern::smtpclient {

class ConnectionCache {
 public:
  static constexpr std::size_t kMaxKept = 1000;
  static constexpr std::size_t kMaxEndpoints = 16;  // remembered for one destination

  explicit ConnectionCache(SettingsPtr settings);

  void configure(SettingsPtr settings) { settings_ = std::move(settings); }

  // Keeps it for a while, or says goodbye.
  void put(std::string_view destination, ConnectionPtr connection);
  // A live one that fits, or null.
  using Fits = std::function<bool(const Connection&)>;
  [[nodiscard]] ConnectionPtr take_for_destination(std::string_view destination, const Fits& fits);
  [[nodiscard]] ConnectionPtr take_for_endpoint(const Endpoint& endpoint, const Fits& fits);
  // All are told goodbye.
  void clear();
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  struct Kept {
    ConnectionPtr connection;
    loop::TimePoint expires;
  };
  [[nodiscard]] ConnectionPtr take(const std::string& relay, const Fits& fits);
  void expire();

  SettingsPtr settings_;
  std::unordered_map<std::string, std::vector<Kept>> by_endpoint_;
  std::unordered_map<std::string, std::vector<std::string>> endpoints_of_;
  std::size_t count_ = 0;
  loop::CallbackTimer timer_;
};

}  // namespace postern::smtpclient
