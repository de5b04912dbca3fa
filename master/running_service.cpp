#include "master/running_service.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>

#include "common/ipc/control.h"
#include "common/log/log.h"

namespace postern::master {

namespace {

using namespace std::chrono_literals;

constexpr loop::Clock::duration kIdleTime = 100s;
constexpr std::chrono::seconds kIdleDrain{30};

// Above this share of the limit the service is under stress, below the other it is no more.
constexpr std::int64_t kStressPercent = 80;
constexpr std::int64_t kRelaxPercent = 70;

// A process can claim what it likes; sums of it must not overflow.
constexpr std::int64_t kMostInUse = 1'000'000;

}  // namespace

ProgramId identify_program(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_mtime};
}

RunningService::RunningService(Host& host, ServiceSpec spec, std::vector<ListenerPtr> listeners)
    : host_(host),
      spec_(std::move(spec)),
      listeners_(std::move(listeners)),
      program_(identify_program(spec_.path)) {
  arm_wakeup();
}

RunningService::~RunningService() {
  unwatch();
  for (Child* child : children_) child->service = nullptr;
}

bool RunningService::can_take_over(const ServiceSpec& spec,
                                   const std::vector<ListenerPtr>& listeners) const {
  // The log writer is started anew at each reload anyway, and never beside its predecessor.
  if (spec.program == "postlog" && spec_.program == "postlog") return listeners == listeners_;
  return spec.path == spec_.path && spec.flags == spec_.flags && listeners == listeners_ &&
         identify_program(spec.path) == program_;
}

void RunningService::update(ServiceSpec spec) {
  const bool is_new_wakeup = spec.wakeup != spec_.wakeup;
  spec_ = std::move(spec);
  if (is_new_wakeup) arm_wakeup();
  not_before_ = {};
  back_off_.reset();
  adjust();
}

std::vector<Child*> RunningService::living() const {
  std::vector<Child*> found;
  for (Child* child : children_) {
    if (!child->is_draining) found.push_back(child);
  }
  return found;
}

bool RunningService::may_grow(const std::vector<Child*>& children) const {
  std::int64_t in_use = 0;
  unsigned open = 0;
  for (const Child* child : children) {
    in_use += child->in_use;
    if (spec_.per_process <= 0 || child->in_use < spec_.per_process) ++open;
  }
  return open < spec_.workers && (spec_.limit == 0 || in_use < spec_.limit);
}

void RunningService::adjust() {
  if (is_ending_ || host_.is_stopping() || listeners_.empty()) {
    unwatch();
    return;
  }
  const std::vector<Child*> children = living();
  share_out();
  const bool is_free = std::ranges::any_of(children, [](const Child* c) { return !c->is_busy; });
  // Two writers of the log would tear its lines: the next one waits for the end of the last.
  const bool must_wait = spec_.program == "postlog" && children_.size() > children.size();
  if (is_free || must_wait || (!children.empty() && !may_grow(children))) {
    unwatch();
    return;
  }
  if (loop::Clock::now() < not_before_) {
    unwatch();
    retry_.arm(not_before_);
    return;
  }
  if (children.empty() && (spec_.start == Start::kAtOnce)) {
    start_one();
  } else {
    watch();
  }
}

void RunningService::on_events(std::uint32_t /*events*/) {
  unwatch();
  start_one();
}

void RunningService::start_one() {
  unwatch();
  was_used_ = true;
  program_ = identify_program(spec_.path);
  Child* const child = host_.start(*this);
  if (child == nullptr) {
    wait_after(std::nullopt, true);
    retry_.arm(not_before_);
    return;
  }
  children_.push_back(child);
  share_out();
}

void RunningService::watch() {
  if (watching_) return;
  for (const ListenerPtr& listener : listeners_) {
    loop::Loop::current().watch_level(listener->fd.get(), *this);
  }
  watching_ = true;
}

void RunningService::unwatch() {
  if (!watching_) return;
  for (const ListenerPtr& listener : listeners_) {
    loop::Loop::current().unwatch(listener->fd.get(), *this);
  }
  watching_ = false;
}

void RunningService::share_out() {
  const std::vector<Child*> children = living();
  if (children.empty()) return;
  std::int64_t in_use = 0;
  for (const Child* child : children_) in_use += child->in_use;
  const auto count = std::ssize(children);
  const std::int64_t left = std::max<std::int64_t>(0, spec_.limit - in_use);
  for (std::int64_t i = 0; i < count; ++i) {
    Child& child = *children[static_cast<std::size_t>(i)];
    ipc::control::Share share;
    if (spec_.limit > 0) {
      const std::int64_t part = left / count + (i < left % count ? 1 : 0);
      // 0 would mean that there is no limit.
      share.limit = std::max<std::int64_t>(1, child.in_use + part);
      const std::int64_t bound = child.told_stress ? kRelaxPercent : kStressPercent;
      share.is_stress = in_use * 100 > spec_.limit * bound;
    }
    if (share.limit == child.told_share && share.is_stress == child.told_stress) continue;
    child.told_share = share.limit;
    child.told_stress = share.is_stress;
    child.tell(share);
  }
}

void RunningService::drain(std::chrono::seconds limit) {
  is_ending_ = true;
  unwatch();
  wakeup_.disarm();
  retry_.disarm();
  proven_.disarm();
  for (Child* child : children_) child->drain(limit);
}

void RunningService::arm_wakeup() {
  if (spec_.wakeup.count() > 0) {
    wakeup_.arm(loop::Loop::current().after(spec_.wakeup));
  } else {
    wakeup_.disarm();
  }
}

void RunningService::wake(bool is_flush) {
  const std::vector<Child*> children = living();
  ipc::control::Wakeup notice;
  notice.is_flush = is_flush;
  for (Child* child : children) child->tell(notice);
  if (!children.empty() || is_ending_ || host_.is_stopping() || listeners_.empty()) return;
  if (spec_.wakeup_only_if_used && !was_used_) return;
  if (loop::Clock::now() >= not_before_) start_one();
}

void RunningService::child_ready(Child& child) {
  if (!child.ready_since) child.ready_since = loop::Clock::now();
  proven_.arm(loop::Loop::current().after(BackOff::kGoodLife));
  if (spec_.wakeup.count() > 0) child.tell(ipc::control::Wakeup{});
}

void RunningService::child_load(Child& child, std::int64_t in_use, bool is_busy) {
  child.in_use = std::clamp<std::int64_t>(in_use, 0, kMostInUse);
  child.is_busy = is_busy;
  if (child.in_use == 0) child.idle_since = loop::Clock::now();
  adjust();
}

void RunningService::child_ended(Child& child, int status) {
  std::erase(children_, &child);
  if (!child.is_draining) {
    const bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (failed && !child.ready_since && !host_.is_stopping()) {
      log::warning("{}: bad command startup -- throttling", child.path);
    }
    std::optional<BackOff::Duration> served;
    if (child.ready_since) served = loop::Clock::now() - *child.ready_since;
    wait_after(served, failed);
  }
  adjust();
}

void RunningService::wait_after(std::optional<BackOff::Duration> served, bool failed) {
  proven_.disarm();
  not_before_ = loop::Clock::now() + back_off_.after(served, failed, host_.longest_back_off());
}

void RunningService::end_idle_children() {
  const std::vector<Child*> children = living();
  if (children.size() < 2) return;
  for (Child* child : children) {
    const bool is_idle =
        child->in_use == 0 && !child->is_busy && loop::Clock::now() - child->idle_since > kIdleTime;
    if (!is_idle) continue;
    child->drain(kIdleDrain);
    share_out();
    return;  // one at a time
  }
}

}  // namespace postern::master
