// destination.h - one next hop of one transport: what waits for it, and how much of it at once.
//
// The window starts at initial_destination_concurrency, grows with success and shrinks with
// failure, both by feedback/window (SCHEDULER_README). When a whole round of deliveries has failed,
// the destination is dead: what waits for it is deferred, and nothing is tried until `dead_until`.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/loop/loop.h"
#include "qmgr/message.h"

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
  std::vector<std::uint32_t> recipients;  // indices, taken from the back
};

// First in, first out. Most destinations have one job or none: a deque would hold a kilobyte for
// each of them.
class JobQueue {
 public:
  [[nodiscard]] bool empty() const { return head_ == jobs_.size(); }
  void push(Job job) { jobs_.push_back(std::move(job)); }
  // Precondition: not empty.
  [[nodiscard]] Job pop() {
    Job first = std::move(jobs_[head_++]);
    if (empty()) {
      *this = {};
    } else if (2 * head_ > jobs_.size()) {
      jobs_.erase(jobs_.begin(), jobs_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
    return first;
  }

 private:
  std::vector<Job> jobs_;
  std::size_t head_ = 0;
};

class Destination {
 public:
  Destination(std::string nexthop, const Limits& limits)
      : nexthop_(std::move(nexthop)), window_(limits.initial_concurrency) {}

  [[nodiscard]] const std::string& nexthop() const { return nexthop_; }

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

  void succeeded(const Limits& limits);
  // True when the destination has just died.
  [[nodiscard]] bool failed(const Limits& limits, loop::TimePoint now, std::string_view why);
  [[nodiscard]] bool is_dead(loop::TimePoint now) const { return now < dead_until_; }
  [[nodiscard]] const std::string& why_dead() const { return why_dead_; }
  void revive(const Limits& limits);

  // Everything that waits, when it is not to be tried now.
  [[nodiscard]] std::vector<Job> take_all();

  // Nothing here is worth remembering.
  [[nodiscard]] bool is_forgettable(loop::TimePoint now) const {
    return !has_jobs() && in_flight_ == 0 && !is_dead(now) && next_start_ <= now;
  }

  // In which of its transport's lists of those to be served.
  enum class List : unsigned char { kNone, kNewMail, kOldMail };
  List list = List::kNone;
  bool is_delayed = false;  // among those that only the rate delay keeps

 private:
  std::string nexthop_;
  JobQueue new_jobs_;
  JobQueue old_jobs_;
  bool is_old_ones_turn_ = false;
  double window_;
  double failures_ = 0;  // rounds
  unsigned in_flight_ = 0;
  loop::TimePoint next_start_{};
  loop::TimePoint dead_until_{};
  std::string why_dead_;
};

}  // namespace postern::qmgr
