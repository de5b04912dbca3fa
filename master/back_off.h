// back_off.h - how long a service waits before its next process, after one has ended by itself.
//
//     served 5 s or more     at once, and what was before is forgotten
//     ended well after 1 s   the same
//     was ready, and failed  at once the first time
//     served 1 s or more     then after the present wait
//     died before or sooner  then 1 s, 2 s, 4 s, ... up to the longest wait: perhaps for ever

#pragma once

#include <optional>

#include "common/loop/loop.h"

namespace postern::master {

class BackOff {
 public:
  using Duration = loop::Clock::duration;

  // Whoever served so long is not broken.
  static constexpr Duration kGoodLife = std::chrono::seconds{5};
  // Whoever served less, a second time, is taken for one of a row of crashes.
  static constexpr Duration kShortLife = std::chrono::seconds{1};
  static constexpr Duration kFirst = std::chrono::seconds{1};

  void reset() { *this = {}; }
  // The wait that is due. `served` is the time since the process was ready, nothing if it never
  // was; `failed` means killed by a signal or a bad exit status.
  [[nodiscard]] Duration after(std::optional<Duration> served, bool failed, Duration longest);

 private:
  Duration wait_{};          // the last one, 0 before the first crash
  bool was_spared_ = false;  // the one restart without a wait is used up
};

}  // namespace postern::master
