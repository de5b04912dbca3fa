// transport.h - one master.cf delivery service: its processes, its destinations, whose turn it is.
//
// Offers cost O(1), however many destinations there are: those that have something waiting and an
// open window stand in a list and take turns. Those with mail that has just come have a list of
// their own, and every other turn: a backlog does not hold it up.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/ipc/agent.h"
#include "common/ipc/channel.h"
#include "qmgr/destination.h"
#include "qmgr/slab.h"
#include "qmgr/slot_index.h"

namespace postern::qmgr {

// One delivery that an agent has.
struct Flight {
  Message* message = nullptr;
  Destination* destination = nullptr;
  std::vector<std::uint32_t> recipients;
};

class Transport;

// One process of the service.
struct Agent {
  Transport* transport = nullptr;
  ipc::ChannelPtr channel;
  std::int64_t credits = 0;
  std::int64_t last_delivery = 0;
  std::unordered_map<std::int64_t, Flight> flights;

  [[nodiscard]] bool has_room() const {
    return channel->is_open() && static_cast<std::int64_t>(flights.size()) < credits;
  }
};

class Transport {
 public:
  Transport(std::string name, const Limits& limits) : name_(std::move(name)), limits_(limits) {}

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }
  void set_limits(const Limits& limits) { limits_ = limits; }

  [[nodiscard]] Destination& destination(std::string_view nexthop);
  // Puts the destination into the list of those to be served, if it has something to be served.
  void list(Destination& destination);

  // The next destination with work that may start; null when there is none now. When only a rate
  // delay stands in the way, `wake_at` is moved to the end of it.
  [[nodiscard]] Destination* next(loop::TimePoint now, loop::TimePoint& wake_at);

  // Some destination has work that the next free process may have.
  [[nodiscard]] bool has_work() const { return !with_new_mail_.empty() || !with_old_mail_.empty(); }

  // All destinations, for a flush and for a transport that is not there.
  void for_each(const std::function<void(Destination&)>& call);
  void forget_idle(loop::TimePoint now);
  [[nodiscard]] std::size_t destinations() const { return index_.size(); }

  std::vector<std::unique_ptr<Agent>> agents;
  // Since when work waits that nobody takes; kNever when none does.
  loop::TimePoint stuck_since = loop::kNever;
  loop::TimePoint dead_until{};
  std::string why_dead;

 private:
  std::string name_;
  Limits limits_;
  Slab<Destination> destinations_;  // they do not move
  SlotIndex index_;
  [[nodiscard]] Destination* take_listed();
  static void put_into(std::deque<Destination*>& list, Destination& destination);
  std::deque<Destination*> with_new_mail_;
  std::deque<Destination*> with_old_mail_;
  bool is_old_ones_turn_ = false;
  // Those that only the rate delay keeps, by its end.
  struct Delayed {
    loop::TimePoint until;
    Destination* destination;
    bool operator>(const Delayed& other) const { return until > other.until; }
  };
  std::priority_queue<Delayed, std::vector<Delayed>, std::greater<>> delayed_;
};

}  // namespace postern::qmgr
