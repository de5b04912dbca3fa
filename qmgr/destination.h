// destination.h - one next hop of one transport: what waits for it, and how much of it at once.
//
// The window starts at initial_destination_concurrency, grows with success and shrinks with
// failure, both by feedback/window (SCHEDULER_README). When a whole round of deliveries has failed,
// the destination is dead: what waits for it is deferred, and nothing is tried until `dead_until`.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/loop/loop.h"
#include "qmgr/index_list.h"
#include "qmgr/message.h"
#include "qmgr/pool.h"
#include "qmgr/short_text.h"
#include "qmgr/wide_memory.h"

namespace postern::qmgr {

// How much one success or failure moves a window: "1", "0.5", "1/concurrency",
// "1/sqrt_concurrency" (SCHEDULER_README).
struct Feedback {
  enum class Per : unsigned char { kDelivery, kConcurrency, kRootOfConcurrency };
  double value = 1;
  Per per = Per::kDelivery;

  [[nodiscard]] double at(double window) const;
};
[[nodiscard]] Feedback parse_feedback(std::string_view text);

// The numbers of one transport, from <transport>_destination_* and their defaults.
struct Limits {
  double initial_concurrency = 5;
  double concurrency = 20;      // 0 is no limit
  std::size_t recipients = 50;  // of one delivery
  double failed_cohorts = 1;    // 0: never dead
  Feedback negative_feedback;
  Feedback positive_feedback;
  std::chrono::seconds rate_delay{0};
  std::chrono::seconds dead_time{300};  // minimal_backoff_time
};

// The recipients of one message for one destination that still wait.
struct Job {
  Message* message = nullptr;
  IndexList recipients;  // taken from the back
};

// First in, first out. Most destinations have one job or none.
class JobQueue {
 public:
  JobQueue() = default;
  JobQueue(JobQueue&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)), last_(std::exchange(other.last_, nullptr)) {}
  JobQueue& operator=(JobQueue&& other) noexcept {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
    return *this;
  }
  ~JobQueue() {
    while (!empty()) (void)pop();
  }

  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  // Precondition: not empty.
  [[nodiscard]] Job& front() { return first_->job; }
  void push(Job job) { append(new Node{std::move(job), nullptr}); }
  // Precondition: not empty.
  [[nodiscard]] Job pop() {
    const std::unique_ptr<Node> first(take_first());
    return std::move(first->job);
  }
  // The first one is the last one now. Precondition: not empty.
  void rotate() { append(take_first()); }
  void prefetch() const { __builtin_prefetch(first_); }
  void prefetch_message() const {
    if (empty()) return;
    const auto* const message = reinterpret_cast<const char*>(first_->job.message);
    for (std::size_t at = 0; at < sizeof(Message); at += kLine) __builtin_prefetch(message + at, 1);
  }

 private:
  struct Node : FromPool<Node> {
    Node(Job a_job, Node* a_next) : job(std::move(a_job)), next(a_next) {}
    Job job;
    Node* next;
  };
  void append(Node* node) {
    node->next = nullptr;
    (last_ == nullptr ? first_ : last_->next) = node;
    last_ = node;
  }
  Node* take_first() {
    Node* const first = first_;
    first_ = first->next;
    if (first_ == nullptr) last_ = nullptr;
    return first;
  }

  Node* first_ = nullptr;
  Node* last_ = nullptr;
};

// Two lines of memory: the first one is all that a delivery touches.
class alignas(kLine) Destination {
 public:
  Destination(std::string_view nexthop, const Limits& limits)
      : window_(static_cast<float>(limits.initial_concurrency)), nexthop_(nexthop) {}

  [[nodiscard]] std::string_view nexthop() const { return nexthop_; }

  void add(Job job) {
    ++job.message->jobs;
    (job.message->is_new ? new_jobs_ : old_jobs_).push(std::move(job));
  }
  [[nodiscard]] bool has_jobs() const { return has_new_mail() || !old_jobs_.empty(); }
  // Mail that has just come is among them.
  [[nodiscard]] bool has_new_mail() const { return !new_jobs_.empty(); }

  // May a delivery start now? Neither window nor rate delay forbids it.
  [[nodiscard]] bool is_open(const Limits& limits, loop::TimePoint now) const;
  // When the rate delay is over; now when there is none.
  [[nodiscard]] loop::TimePoint next_start() const { return next_start_; }

  // The next delivery's worth of recipients: messages take turns, so that one with ten thousand
  // recipients does not hold up the others, and new mail takes every other turn. Precondition:
  // has_jobs().
  [[nodiscard]] Job take(const Limits& limits, loop::TimePoint now);
  // A delivery that take() gave has ended.
  void landed() { --in_flight_; }
  [[nodiscard]] unsigned in_flight() const { return in_flight_; }

  // Without mail, and not dead, it remembers neither failures nor successes: one mail an hour that
  // a host refuses to hear of does not make the next one wait untried.
  void begin_anew(const Limits& limits, loop::TimePoint now) {
    if (in_flight_ > 0 || has_jobs() || is_dead(now)) return;
    revive(limits);
    last_done_ = 0;
  }
  // An agent has ended a delivery: the next one may follow on its heels.
  void note_done(loop::TimePoint now) { last_done_ = tenths_of(now); }
  // One has just ended, and there has been mail ever since: a connection is worth keeping.
  [[nodiscard]] bool is_back_to_back(loop::TimePoint now) const {
    return last_done_ != 0 && tenths_of(now) - last_done_ <= 10;
  }
  void succeeded(const Limits& limits);
  // True when the destination has just died.
  [[nodiscard]] bool failed(const Limits& limits, loop::TimePoint now, std::string_view why);
  [[nodiscard]] bool is_dead(loop::TimePoint now) const { return now < dead_until_; }
  [[nodiscard]] std::string_view why_dead() const {
    return why_dead_ == nullptr ? std::string_view() : *why_dead_;
  }
  void revive(const Limits& limits);

  // Everything that waits, when it is not to be tried now.
  [[nodiscard]] std::vector<Job> take_all();

  // Nothing here is worth remembering.
  [[nodiscard]] bool is_forgettable(loop::TimePoint now) const {
    return !has_jobs() && in_flight_ == 0 && places == 0 && !is_delayed && !is_dead(now) &&
           next_start_ <= now;
  }

  // What a delivery needs is asked for before its turn comes.
  void prefetch() const { __builtin_prefetch(this, 1); }
  void prefetch_job() const { (new_jobs_.empty() ? old_jobs_ : new_jobs_).prefetch(); }
  void prefetch_message() const { (new_jobs_.empty() ? old_jobs_ : new_jobs_).prefetch_message(); }

 private:
  JobQueue new_jobs_;
  JobQueue old_jobs_;
  loop::TimePoint next_start_{};
  float window_ = 0;
  float failures_ = 0;  // rounds
  unsigned in_flight_ = 0;

 public:
  // In which of its transport's lists of those to be served.
  enum class List : unsigned char { kNone, kNewMail, kOldMail };
  std::uint32_t places = 0;  // in these lists, those that are passed over among them
  List list = List::kNone;
  bool was_idle = false;    // when it was looked at for the last time
  bool is_delayed = false;  // among those that only the rate delay keeps

 private:
  [[nodiscard]] static std::uint32_t tenths_of(loop::TimePoint time) {
    const auto since = time.time_since_epoch() / std::chrono::milliseconds(100);
    return static_cast<std::uint32_t>(since) | 1U;  // 0 is never
  }

  bool is_old_ones_turn_ = false;
  std::uint32_t last_done_ = 0;
  loop::TimePoint dead_until_{};
  std::unique_ptr<const std::string> why_dead_;
  ShortText<48> nexthop_;
};

static_assert(sizeof(Destination) == 2 * kLine);

}  // namespace postern::qmgr
