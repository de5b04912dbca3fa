#include "common/loop/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cassert>

namespace postern::loop {

namespace {

thread_local Loop* this_loop = nullptr;

// Enough to tell a turn of sixteen sessions' news in one call, small enough for the stack.
constexpr int kEventsPerTurn = 256;

// Descriptors that became ready are served before timers are looked at again; a flood of posted
// work is cut here so that it cannot keep the loop from the kernel.
constexpr std::size_t kReadyPerTurn = 4096;

}  // namespace

void Timer::arm(TimePoint when) {
  disarm();
  when_ = when;
  if (when != kNever) Loop::current().arm(*this);
}

void Timer::disarm() {
  if (is_armed()) Loop::current().disarm(*this);
}

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  assert(epoll_);
  assert(this_loop == nullptr);
  this_loop = this;
}

Loop::~Loop() { this_loop = nullptr; }

Loop& Loop::current() {
  assert(this_loop != nullptr);
  return *this_loop;
}

void Loop::run() {
  while (!stopping_) turn();
  stopping_ = false;
  run_hooks();
}

void Loop::post(std::function<void()> call) { calls_.push_back(std::move(call)); }

void Loop::schedule(TurnEnd& hook, Order order) {
  if (hook.scheduled_) return;
  hook.scheduled_ = true;
  (order == Order::kLog ? log_hooks_ : frame_hooks_).push_back(&hook);
}

void Loop::forget(TurnEnd& hook) {
  if (!hook.scheduled_) return;
  hook.scheduled_ = false;
  std::replace(log_hooks_.begin(), log_hooks_.end(), &hook, static_cast<TurnEnd*>(nullptr));
  std::replace(frame_hooks_.begin(), frame_hooks_.end(), &hook, static_cast<TurnEnd*>(nullptr));
}

void Loop::watch(int fd, Watched& watched) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &watched;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Loop::watch_level(int fd, Watched& watched) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &watched;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Loop::unwatch(int fd, Watched& watched) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  forgotten_.push_back(&watched);
}

void Loop::turn() {
  ready_.insert(ready_.end(), next_turn_.begin(), next_turn_.end());
  next_turn_.clear();
  run_ready();
  run_hooks();
  wait_for_events();
  expire_timers();
}

void Loop::run_ready() {
  for (std::size_t i = 0; i < kReadyPerTurn && !(ready_.empty() && calls_.empty()); ++i) {
    if (!ready_.empty()) {
      const auto handle = ready_.front();
      ready_.pop_front();
      handle.resume();
    } else {
      const auto call = std::move(calls_.front());
      calls_.pop_front();
      call();
    }
  }
}

void Loop::run_hooks() {
  // A hook may schedule others, also of the other list: frames that cannot leave write a log line.
  while (!log_hooks_.empty() || !frame_hooks_.empty()) {
    auto& list = log_hooks_.empty() ? frame_hooks_ : log_hooks_;
    const std::vector<TurnEnd*> hooks = std::exchange(list, {});
    for (TurnEnd* hook : hooks) {
      if (hook == nullptr || !hook->scheduled_) continue;
      hook->scheduled_ = false;
      hook->on_turn_end();
    }
  }
}

void Loop::wait_for_events() {
  int timeout = -1;
  if (!ready_.empty() || !calls_.empty() || !next_turn_.empty() || stopping_) {
    timeout = 0;
  } else if (!heap_.empty()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(heap_[0]->when_ - Clock::now());
    timeout = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
  }
  epoll_event events[kEventsPerTurn];
  const TimePoint before = Clock::now();
  const int count = ::epoll_wait(epoll_.get(), events, kEventsPerTurn, timeout);
  now_ = Clock::now();
  account(before, now_);
  forgotten_.clear();
  for (int i = 0; i < count; ++i) {
    auto* watched = static_cast<Watched*>(events[i].data.ptr);
    // An earlier event of this batch may have ended the owner of this one.
    if (std::find(forgotten_.begin(), forgotten_.end(), watched) != forgotten_.end()) continue;
    watched->on_events(events[i].events);
  }
}

void Loop::account(TimePoint before_wait, TimePoint after_wait) {
  waited_ += after_wait - before_wait;
  const auto span = after_wait - account_start_;
  if (span < std::chrono::seconds(1)) return;
  busy_percent_ = static_cast<unsigned>(100 - std::min<std::int64_t>(100, 100 * waited_ / span));
  account_start_ = after_wait;
  waited_ = {};
}

void Loop::expire_timers() {
  while (!heap_.empty() && heap_[0]->when_ <= now_) {
    Timer* timer = heap_[0];
    disarm(*timer);
    timer->on_timer();
  }
}

void Loop::place(Timer* timer, std::size_t index) {
  heap_[index] = timer;
  timer->index_ = index;
}

void Loop::arm(Timer& timer) {
  heap_.push_back(&timer);
  timer.index_ = heap_.size() - 1;
  sift_up(timer.index_);
}

void Loop::disarm(Timer& timer) {
  const std::size_t index = timer.index_;
  timer.index_ = Timer::kIdle;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(last, index);
  sift_up(index);
  sift_down(last->index_);
}

void Loop::sift_up(std::size_t index) {
  Timer* timer = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 4;
    if (heap_[parent]->when_ <= timer->when_) break;
    place(heap_[parent], index);
    index = parent;
  }
  place(timer, index);
}

void Loop::sift_down(std::size_t index) {
  Timer* timer = heap_[index];
  for (;;) {
    const std::size_t first = 4 * index + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    const std::size_t end = std::min(first + 4, heap_.size());
    for (std::size_t child = first + 1; child < end; ++child) {
      if (heap_[child]->when_ < heap_[least]->when_) least = child;
    }
    if (timer->when_ <= heap_[least]->when_) break;
    place(heap_[least], index);
    index = least;
  }
  place(timer, index);
}

void FdWatch::open(int fd) {
  close();
  fd_ = fd;
  can_read_ = can_write_ = true;
  hung_up_ = false;
  Loop::current().watch(fd, *this);
}

void FdWatch::close() {
  if (fd_ < 0) return;
  Loop::current().unwatch(fd_, *this);
  fd_ = -1;
  cancel_waits();
}

void FdWatch::abandon() {
  if (fd_ < 0) return;
  Loop::current().forget_events(*this);
  fd_ = -1;
  cancel_waits();
}

void FdWatch::cancel_waits() {
  if (reader_ != nullptr) std::exchange(reader_, nullptr)->finish(Wait::kCancelled);
  if (writer_ != nullptr) std::exchange(writer_, nullptr)->finish(Wait::kCancelled);
}

void FdWatch::on_events(std::uint32_t events) {
  const bool ended = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (ended || (events & EPOLLRDHUP) != 0) hung_up_ = true;
  if (ended || (events & (EPOLLIN | EPOLLRDHUP)) != 0) {
    can_read_ = true;
    if (reader_ != nullptr) std::exchange(reader_, nullptr)->finish(Wait::kReady);
  }
  if (ended || (events & EPOLLOUT) != 0) {
    can_write_ = true;
    if (writer_ != nullptr) std::exchange(writer_, nullptr)->finish(Wait::kReady);
  }
}

void FdWatch::Awaiter::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  Awaiter*& place = reading_ ? watch_.reader_ : watch_.writer_;
  assert(place == nullptr);
  if (watch_.fd_ < 0) {
    outcome_ = Wait::kCancelled;
    Loop::current().post(handle);
    return;
  }
  place = this;
  arm(deadline_);
}

void FdWatch::Awaiter::on_timer() {
  (reading_ ? watch_.reader_ : watch_.writer_) = nullptr;
  outcome_ = Wait::kTimeout;
  Loop::current().post(handle_);
}

void FdWatch::Awaiter::finish(Wait outcome) {
  disarm();
  outcome_ = outcome;
  Loop::current().post(handle_);
}

void Sleep::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  arm(Loop::current().now() + wait_);
}

void Sleep::on_timer() { Loop::current().post(handle_); }

Condition::~Condition() {
  while (!waiters_.empty()) wake(*waiters_.front(), Wait::kCancelled);
}

Condition::Awaiter::~Awaiter() {
  if (condition_ != nullptr && handle_) std::erase(condition_->waiters_, this);
}

void Condition::Awaiter::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  condition_->waiters_.push_back(this);
  arm(deadline_);
}

void Condition::Awaiter::on_timer() { condition_->wake(*this, Wait::kTimeout); }

void Condition::wake(Awaiter& waiter, Wait outcome) {
  if (!waiters_.empty() && waiters_.front() == &waiter) {
    waiters_.pop_front();
  } else {
    std::erase(waiters_, &waiter);
  }
  waiter.disarm();
  waiter.outcome_ = outcome;
  waiter.condition_ = nullptr;
  Loop::current().post(waiter.handle_);
}

void Condition::notify_one() {
  if (!waiters_.empty()) wake(*waiters_.front(), Wait::kReady);
}

void Condition::notify_all() {
  while (!waiters_.empty()) wake(*waiters_.front(), Wait::kReady);
}

}  // namespace postern::loop
