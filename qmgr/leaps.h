// leaps.h - how old mail is, though somebody sets the clock: arrival is written down in wall time,
// and a clock that jumps a year ahead would return all deferred mail at its next attempt.
//
// The wall clock is compared with one that nobody sets and that goes on in a suspended machine
// (CLOCK_BOOTTIME). What it gained or lost at once is taken off the age of what came before.

#pragma once

#include <cstdint>
#include <deque>

namespace postern::qmgr {

class Leaps {
 public:
  // Smaller ones are left to whoever keeps the clock.
  static constexpr std::int64_t kSmallest = std::int64_t{3600} * 1'000'000;
  // Of a clock that is set again and again the last ones count.
  static constexpr std::size_t kMost = 64;

  // Both clocks in microseconds, read together. To be called at least as often as ages are asked
  // for.
  void look(std::int64_t wall, std::int64_t unset);

  // In microseconds; negative for what seems to come later. Precondition: look() was called.
  [[nodiscard]] std::int64_t age_of(std::int64_t arrival) const;

 private:
  struct Leap {
    std::int64_t from, to;  // of the wall clock
  };
  std::deque<Leap> leaps_;
  std::int64_t wall_ = 0;  // at the last look
  std::int64_t unset_ = 0;
  bool has_looked_ = false;
};

}  // namespace postern::qmgr
