// milter_places.h - milter_connection_limit: how many sessions of this process are connected to
// each milter. Filters were sized for the processes that Postfix has, not for ten thousand
// sessions.

#pragma once

#include <cstdint>
#include <map>

#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::smtpd {

class MilterPlaces {
 public:
  // Waits for a place at the endpoint of that number; false when none was free in time. 0: no
  // limit.
  [[nodiscard]] loop::Task<bool> take(std::uint64_t number, std::int64_t limit,
                                      loop::Deadline deadline) {
    Endpoint& endpoint = endpoints_[number];
    while (limit > 0 && endpoint.in_use >= limit) {
      const loop::Wait wait = co_await endpoint.room.wait(deadline);
      if (wait != loop::Wait::kReady) co_return false;
    }
    ++endpoint.in_use;
    co_return true;
  }
  void leave(std::uint64_t number) {
    Endpoint& endpoint = endpoints_[number];
    --endpoint.in_use;
    endpoint.room.notify_one();
  }

 private:
  // As many as the configuration names.
  struct Endpoint {
    std::int64_t in_use = 0;
    loop::Condition room;
  };
  std::map<std::uint64_t, Endpoint> endpoints_;
};

}  // namespace postern::smtpd
