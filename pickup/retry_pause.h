// retry_pause.h - how long pickup waits before it tries again what failed for now.

#pragma once

#include <algorithm>
#include <chrono>
#include <utility>

namespace postern::pickup {

// 1 s, 2 s, 4 s, ... 60 s, from the start again after a success.
class RetryPause {
 public:
  [[nodiscard]] std::chrono::seconds next() {
    return std::exchange(pause_, std::min(2 * pause_, kLongest));
  }
  void reset() { pause_ = kFirst; }

 private:
  static constexpr std::chrono::seconds kFirst{1};
  static constexpr std::chrono::seconds kLongest{60};
  std::chrono::seconds pause_ = kFirst;
};

}  // namespace postern::pickup
