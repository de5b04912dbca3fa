// counters.h - how often each client did what in the running time unit, and the peaks.
//
// A client's time unit (anvil_rate_time_unit) begins with its first event and ends for all kinds of
// events together, as in Postfix: an administrator's figures mean the same. Pure but for the log;
// the caller brings the time.

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/keyed_hash.h"
#include "common/ipc/anvil.h"

namespace postern::anvil {

using Time = std::chrono::system_clock::time_point;

class Counters {
 public:
  // Names of clients that a flood may make us hold; beyond, the longest idle are forgotten.
  static constexpr std::size_t kMaxClients = 200'000;

  explicit Counters(std::chrono::seconds unit) : unit_(unit) {}
  void set_unit(std::chrono::seconds unit) { unit_ = unit; }

  // `source` is the process that tells: its connections are forgotten with it.
  [[nodiscard]] ipc::anvil::Counted count(std::uint64_t source, const ipc::anvil::Count& request,
                                          Time now);
  void set_connections(std::uint64_t source, const ipc::anvil::Connections& notice, Time now);
  void add(const ipc::anvil::Tally& tally, Time now);
  void forget_source(std::uint64_t source);

  // The peaks since the last call, as lines for the log.
  [[nodiscard]] std::vector<std::string> take_statistics();
  // Drops clients whose time unit has passed and who have no connection.
  void forget_idle(Time now);

  [[nodiscard]] std::size_t clients() const { return clients_.size(); }

 private:
  struct Share {
    std::uint64_t source;
    std::int64_t connections;
  };
  struct Client {
    Time start{};
    std::array<std::int64_t, ipc::anvil::kEvents> rates{};
    std::vector<Share> shares;  // of processes that have connections of it

    [[nodiscard]] std::int64_t connections() const;
  };
  struct Peak {
    std::int64_t value = 0;
    std::string client;
    Time at{};
    void note(std::int64_t seen, const std::string& who, Time when);
  };

  [[nodiscard]] std::pair<const std::string, Client>& touch(std::string_view service,
                                                            std::string_view client, Time now);
  void set_share(std::pair<const std::string, Client>& client, std::uint64_t source,
                 std::int64_t connections, Time now);

  std::chrono::seconds unit_;
  StringMap<Client> clients_;  // by "service:client"
  std::array<Peak, ipc::anvil::kEvents> peak_rates_;
  Peak peak_connections_;
  std::size_t peak_clients_ = 0;
  Time peak_clients_at_{};
};

}  // namespace postern::anvil
