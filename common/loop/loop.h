// loop.h - one thread's event loop: descriptors, timers, and what happens at the end of a turn.
//
// A turn is: resume what is ready, run the end-of-turn hooks (log lines leave first, then frames to
// other processes: whoever reads the log sees causes before effects), then wait for the kernel.
// Descriptors are watched edge-triggered and registered once for their life, so that waiting costs
// no system call but the one that all sessions share.
//
// Everything here belongs to the thread that made the Loop, except WorkerPool's own queue.

#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "common/base/result.h"
#include "common/loop/task.h"
#include "common/sys/fd.h"

namespace postern::loop {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// When a wait is given up. kNever is for waits that another deadline bounds.
using Deadline = TimePoint;
inline constexpr Deadline kNever = TimePoint::max();

enum class Wait : unsigned char { kReady, kTimeout, kCancelled };

class Loop;

// A place in the loop's timer heap. Not copied or moved while armed.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() { disarm(); }

  void arm(TimePoint when);
  void disarm();
  [[nodiscard]] bool is_armed() const { return index_ != kIdle; }

 protected:
  virtual void on_timer() = 0;

 private:
  friend class Loop;
  static constexpr std::size_t kIdle = SIZE_MAX;
  TimePoint when_{};
  std::size_t index_ = kIdle;
};

// A timer that calls a function. The function may re-arm it.
class CallbackTimer : public Timer {
 public:
  explicit CallbackTimer(std::function<void()> call) : call_(std::move(call)) {}

 private:
  void on_timer() override { call_(); }
  std::function<void()> call_;
};

// What is told of a descriptor's edges.
class Watched {
 public:
  virtual void on_events(std::uint32_t events) = 0;

 protected:
  ~Watched() = default;
};

// Work for the end of the turn, run once for each schedule().
class TurnEnd {
 public:
  virtual void on_turn_end() = 0;

 protected:
  ~TurnEnd() = default;

 private:
  friend class Loop;
  bool scheduled_ = false;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // The loop of this thread. Precondition: there is one.
  [[nodiscard]] static Loop& current();

  // Turns until stop(), which counts before the first turn, too: what was to be waited for may have
  // come already.
  void run();
  void stop() { stopping_ = true; }

  // Time as of this turn.
  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] Deadline after(Clock::duration wait) const { return now_ + wait; }

  // Resumes the coroutine, or calls the function, later in this turn.
  void post(std::coroutine_handle<> handle) { ready_.push_back(handle); }
  void post(std::function<void()> call);
  // Resumes the coroutine in the next turn, after the kernel was asked what else there is.
  void post_next_turn(std::coroutine_handle<> handle) { next_turn_.push_back(handle); }

  enum class Order : unsigned char { kLog, kFrames };
  void schedule(TurnEnd& hook, Order order);
  void forget(TurnEnd& hook);

  void watch(int fd, Watched& watched);
  void watch_level(int fd, Watched& watched);
  void unwatch(int fd, Watched& watched);
  // The same without the system call, for a descriptor that is closed right afterwards and has no
  // duplicate: closing it is what makes the kernel forget it.
  void forget_events(Watched& watched) { forgotten_.push_back(&watched); }

  // The share of time, in percent, that the last second was spent working rather than waiting.
  [[nodiscard]] unsigned busy_percent() const { return busy_percent_; }

 private:
  friend class Timer;
  void turn();
  void run_ready();
  void run_hooks();
  void wait_for_events();
  void expire_timers();
  void account(TimePoint before_wait, TimePoint after_wait);
  void arm(Timer& timer);
  void disarm(Timer& timer);
  void sift_up(std::size_t index);
  void sift_down(std::size_t index);
  void place(Timer* timer, std::size_t index);

  sys::Fd epoll_;
  TimePoint now_ = Clock::now();
  bool stopping_ = false;
  std::deque<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> next_turn_;
  std::deque<std::function<void()>> calls_;
  std::vector<TurnEnd*> log_hooks_;
  std::vector<TurnEnd*> frame_hooks_;
  std::vector<Timer*> heap_;
  std::vector<Watched*> forgotten_;  // unwatched while this turn's events are being told
  TimePoint account_start_ = now_;
  Clock::duration waited_{};
  unsigned busy_percent_ = 0;
};

// One descriptor that coroutines wait for. At most one waits to read and one to write.
//
// Edge-triggered: can_read() stays true until the owner, after EAGAIN, says clear_read().
class FdWatch final : public Watched {
 public:
  FdWatch() = default;
  explicit FdWatch(int fd) { open(fd); }
  ~FdWatch() { close(); }
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  void open(int fd);
  void close();  // wakes waiters with kCancelled
  // As close(), when the descriptor itself is closed next and nobody has a copy of it: the kernel
  // forgets it by itself.
  void abandon();

  void clear_read() { can_read_ = false; }
  void clear_write() { can_write_ = false; }
  [[nodiscard]] bool can_read() const { return can_read_; }
  [[nodiscard]] bool can_write() const { return can_write_; }
  [[nodiscard]] bool has_hung_up() const { return hung_up_; }

  class Awaiter final : public Timer {
   public:
    Awaiter(FdWatch& watch, bool reading, Deadline deadline)
        : watch_(watch), reading_(reading), deadline_(deadline) {}
    [[nodiscard]] bool await_ready() const noexcept {
      return reading_ ? watch_.can_read_ : watch_.can_write_;
    }
    void await_suspend(std::coroutine_handle<> handle);
    Wait await_resume() const noexcept { return outcome_; }

   private:
    friend class FdWatch;
    void on_timer() override;
    void finish(Wait outcome);
    FdWatch& watch_;
    std::coroutine_handle<> handle_;
    bool reading_;
    Wait outcome_ = Wait::kReady;
    Deadline deadline_;
  };

  [[nodiscard]] Awaiter readable(Deadline deadline) { return {*this, true, deadline}; }
  [[nodiscard]] Awaiter writable(Deadline deadline) { return {*this, false, deadline}; }

  // Ends a wait early; the descriptor stays watched.
  void cancel_waits();

 private:
  void on_events(std::uint32_t events) override;
  int fd_ = -1;
  bool can_read_ = true;
  bool can_write_ = true;
  bool hung_up_ = false;
  Awaiter* reader_ = nullptr;
  Awaiter* writer_ = nullptr;
};

// Suspends for a while.
class Sleep final : public Timer {
 public:
  explicit Sleep(Clock::duration wait) : wait_(wait) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle);
  void await_resume() const noexcept {}

 private:
  void on_timer() override;
  Clock::duration wait_;
  std::coroutine_handle<> handle_;
};

[[nodiscard]] inline Sleep sleep_for(Clock::duration wait) { return Sleep(wait); }

// Lets everybody else have a turn: for whoever could go on for ever.
struct Yield {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) const {
    Loop::current().post_next_turn(handle);
  }
  void await_resume() const noexcept {}
};

// Something that happened, for any number of waiters. notify() wakes those that wait now.
class Condition {
 public:
  Condition() = default;
  ~Condition();
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  class Awaiter final : public Timer {
   public:
    Awaiter(Condition& condition, Deadline deadline)
        : condition_(&condition), deadline_(deadline) {}
    ~Awaiter() override;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle);
    Wait await_resume() const noexcept { return outcome_; }

   private:
    friend class Condition;
    void on_timer() override;
    Condition* condition_;
    std::coroutine_handle<> handle_;
    Wait outcome_ = Wait::kReady;
    Deadline deadline_;
  };

  [[nodiscard]] Awaiter wait(Deadline deadline) { return {*this, deadline}; }
  void notify_one();
  void notify_all();
  [[nodiscard]] bool has_waiters() const { return !waiters_.empty(); }

 private:
  void wake(Awaiter& waiter, Wait outcome);
  std::deque<Awaiter*> waiters_;
};

}  // namespace postern::loop
