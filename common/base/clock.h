// clock.h - the two clocks, and the seam through which tests hand in another time.
//
// Wall time is for what people and other hosts read; Steady for every deadline and age, since an
// operator or NTP may set the first one at any moment.

#pragma once

#include <chrono>

namespace postern {

using WallTime = std::chrono::system_clock::time_point;
using SteadyTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual WallTime wall() const { return std::chrono::system_clock::now(); }
  [[nodiscard]] virtual SteadyTime steady() const { return std::chrono::steady_clock::now(); }

  // The machine's clocks; lives for ever.
  [[nodiscard]] static const Clock& real() {
    static const Clock clock;
    return clock;
  }
};

// Stands still until told otherwise.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(WallTime wall = WallTime{}) : wall_(wall) {}
  [[nodiscard]] WallTime wall() const override { return wall_; }
  [[nodiscard]] SteadyTime steady() const override { return steady_; }
  void advance(std::chrono::nanoseconds by) {
    wall_ += std::chrono::duration_cast<WallTime::duration>(by);
    steady_ += std::chrono::duration_cast<SteadyTime::duration>(by);
  }
  void set_wall(WallTime wall) { wall_ = wall; }

 private:
  WallTime wall_;
  SteadyTime steady_{};
};

}  // namespace postern
