#include "qmgr/leaps.h"

#include <cstdlib>
#include <ranges>

namespace postern::qmgr {

void Leaps::look(std::int64_t wall, std::int64_t unset) {
  if (has_looked_) {
    const std::int64_t expected = wall_ + (unset - unset_);
    if (std::abs(wall - expected) >= kSmallest) {
      leaps_.push_back({expected, wall});
      if (leaps_.size() > kMost) leaps_.pop_front();
    }
  }
  has_looked_ = true;
  wall_ = wall;
  unset_ = unset;
}

std::int64_t Leaps::age_of(std::int64_t arrival) const {
  std::int64_t age = wall_ - arrival;
  // From the last leap back to the stretch of time that the message came in. Where a clock was set
  // back it may have been one of two: the later one, then.
  std::int64_t end = wall_;
  for (const Leap& leap : std::views::reverse(leaps_)) {
    if (arrival >= leap.to && arrival <= end) break;
    age -= leap.to - leap.from;
    end = leap.from;
  }
  return age;
}

}  // namespace postern::qmgr
