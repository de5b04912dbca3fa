#include "master/back_off.h"

#include <algorithm>
#include <utility>

namespace postern::master {

BackOff::Duration BackOff::after(std::optional<Duration> served, bool failed, Duration longest) {
  longest = std::max(longest, kFirst);
  const Duration life = served.value_or(Duration::zero());
  if (life >= kGoodLife || (!failed && life >= kShortLife)) reset();
  const bool was_killed_at_work = failed && served && !was_spared_;
  if (life < kShortLife && !was_killed_at_work) {
    wait_ = std::clamp(2 * wait_, kFirst, longest);
    return wait_;
  }
  if (!failed || !std::exchange(was_spared_, true)) return Duration::zero();
  return std::clamp(wait_, kFirst, longest);
}

}  // namespace postern::master
