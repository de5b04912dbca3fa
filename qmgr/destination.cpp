#include "qmgr/destination.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace postern::qmgr {

double Feedback::at(double window) const {
  switch (per) {
    case Per::kDelivery:
      return value;
    case Per::kConcurrency:
      return value / std::max(1.0, window);
    case Per::kRootOfConcurrency:
      return value / std::sqrt(std::max(1.0, window));
  }
  return value;
}

Feedback parse_feedback(std::string_view text) {
  Feedback feedback;
  std::from_chars(text.data(), text.data() + text.size(), feedback.value);
  if (text.find("sqrt_concurrency") != std::string_view::npos) {
    feedback.per = Feedback::Per::kRootOfConcurrency;
  } else if (text.find("concurrency") != std::string_view::npos) {
    feedback.per = Feedback::Per::kConcurrency;
  }
  return feedback;
}

bool Destination::is_open(const Limits& limits, loop::TimePoint now) const {
  if (limits.concurrency > 0 && in_flight_ >= static_cast<unsigned>(std::max(1.0F, window_))) {
    return false;
  }
  if (limits.rate_delay.count() > 0 && (in_flight_ > 0 || now < next_start_)) return false;
  return true;
}

Job Destination::take(const Limits& limits, loop::TimePoint now) {
  auto* jobs = is_old_ones_turn_ ? &old_jobs_ : &new_jobs_;
  is_old_ones_turn_ = !is_old_ones_turn_;
  if (jobs->empty()) jobs = new_jobs_.empty() ? &old_jobs_ : &new_jobs_;
  const std::size_t limit = limits.recipients == 0 ? SIZE_MAX : limits.recipients;
  Job part;
  if (jobs->front().recipients.size() <= limit) {
    part = jobs->pop();
    --part.message->jobs;
  } else {
    part = {jobs->front().message, jobs->front().recipients.take_back(limit)};
    jobs->rotate();
  }
  ++in_flight_;
  if (limits.rate_delay.count() > 0) next_start_ = now + limits.rate_delay;
  return part;
}

std::vector<Job> Destination::take_all() {
  std::vector<Job> all;
  for (auto* jobs : {&new_jobs_, &old_jobs_}) {
    while (!jobs->empty()) {
      all.push_back(jobs->pop());
      --all.back().message->jobs;
    }
  }
  return all;
}

void Destination::succeeded(const Limits& limits) {
  failures_ = 0;
  const double window = window_ + limits.positive_feedback.at(window_);
  const double most = limits.concurrency > 0 ? limits.concurrency : window;
  window_ = static_cast<float>(std::min(window, most));
}

bool Destination::failed(const Limits& limits, loop::TimePoint now, std::string_view why) {
  // One that is paced is asked so rarely that no failure makes it worse.
  if (limits.rate_delay.count() > 0) return false;
  failures_ += 1 / std::max(1.0F, window_);
  window_ = static_cast<float>(std::max(1.0, window_ - limits.negative_feedback.at(window_)));
  // A sum of fractions: 3 thirds may be a little less than one.
  constexpr double kRounding = 1e-4;
  if (limits.failed_cohorts <= 0 || failures_ + kRounding < limits.failed_cohorts) return false;
  dead_until_ = now + limits.dead_time;
  why_dead_ = std::make_unique<const std::string>(why);
  failures_ = 0;
  return true;
}

void Destination::revive(const Limits& limits) {
  dead_until_ = {};
  failures_ = 0;
  window_ = static_cast<float>(limits.initial_concurrency);
}

}  // namespace postern::qmgr
