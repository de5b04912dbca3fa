#include "auth/workers.h"

#include <algorithm>

#include "common/agent/packet.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/sasl/digest.h"

namespace postern::auth {

namespace {

// Whoever comes on top is told to try again.
constexpr std::size_t kMaxWaiting = 2000;
// Libraries leak: a worker is replaced now and then.
constexpr std::size_t kMaxJobs = 10'000;
constexpr std::chrono::seconds kMaxIdle{100};

}  // namespace

struct Workers::Worker {
  Worker(sys::Fd fd, std::string its_set_up)
      : socket(std::move(fd)), watch(socket.get()), set_up(std::move(its_set_up)) {}

  [[nodiscard]] bool may_begin() const {
    return !is_busy && !is_retired && !is_gone && logins < kMaxLoginsPerWorker;
  }

  sys::Fd socket;
  loop::FdWatch watch;
  std::string set_up;
  std::size_t logins = 0;
  std::size_t jobs = 0;
  bool is_busy = false;
  bool is_retired = false;
  bool is_gone = false;
  loop::TimePoint idle_since = loop::Clock::now();
  loop::Condition freed;
};

Workers::Workers(sys::Fd maker) : maker_(std::move(maker)), sweep_([this] { end_idle(); }) {}

Workers::~Workers() = default;

void Workers::retire_all() {
  for (const auto& worker : workers_) worker->is_retired = true;
  end_idle();
}

std::size_t Workers::count(const std::string& set_up) const {
  return static_cast<std::size_t>(std::ranges::count_if(workers_, [&](const WorkerPtr& worker) {
    return worker->set_up == set_up && !worker->is_retired;
  }));
}

Workers::WorkerPtr Workers::find_idle(const std::string& set_up) const {
  WorkerPtr best;
  for (const auto& worker : workers_) {
    if (worker->set_up != set_up || !worker->may_begin()) continue;
    if (best == nullptr || worker->logins < best->logins) best = worker;
  }
  return best;
}

Result<Workers::WorkerPtr> Workers::make(std::string set_up) {
  TRY(auto pair, agent::packet_pair());
  if (!agent::send_packet(maker_.get(), "worker", pair.blocking.get())) {
    return fail_temporary("no worker can be made");
  }
  auto worker = std::make_shared<Worker>(std::move(pair.nonblocking), std::move(set_up));
  workers_.push_back(worker);
  return worker;
}

loop::Task<Result<Workers::WorkerPtr>> Workers::take(std::string set_up, loop::Deadline deadline) {
  if (waiting_ >= kMaxWaiting) co_return fail_temporary("too many logins under way");
  for (;;) {
    WorkerPtr worker = find_idle(set_up);
    const std::size_t limit = set_up == kTokenSetUp ? 1 : limit_;
    if (worker == nullptr && count(set_up) < limit) {
      CO_TRY(worker, make(set_up));
    }
    if (worker != nullptr) {
      worker->is_busy = true;
      co_return worker;
    }
    ++waiting_;
    const loop::Wait wait = co_await room_.wait(deadline);
    --waiting_;
    if (wait != loop::Wait::kReady) co_return fail_temporary("too many logins under way");
  }
}

void Workers::drop(const WorkerPtr& worker) {
  worker->is_gone = true;
  worker->is_busy = false;
  std::erase(workers_, worker);
  worker->watch.close();
  worker->socket.reset();
  worker->freed.notify_all();
  room_.notify_one();
}

void Workers::release(const WorkerPtr& worker) {
  worker->is_busy = false;
  worker->idle_since = loop::Clock::now();
  if (++worker->jobs >= kMaxJobs) worker->is_retired = true;
  if (worker->freed.has_waiters()) {
    worker->freed.notify_one();
  } else {
    room_.notify_one();
  }
  if (!sweep_.is_armed()) sweep_.arm(loop::Clock::now() + kMaxIdle);
}

void Workers::end_idle() {
  const auto now = loop::Clock::now();
  const auto old = workers_;
  for (const auto& worker : old) {
    const bool is_over = worker->is_retired || worker->idle_since + kMaxIdle <= now;
    if (is_over && !worker->is_busy && worker->logins == 0) drop(worker);
  }
  if (!workers_.empty()) sweep_.arm(now + kMaxIdle);
}

loop::Task<Result<JobReply>> Workers::run(Job job, std::string set_up, WorkerPtr* worker) {
  const loop::Deadline deadline = loop::Clock::now() + kJobTime;
  WorkerPtr by = worker == nullptr ? nullptr : *worker;
  if (by == nullptr) {
    CO_TRY(by, co_await take(std::move(set_up), deadline));
  } else {
    while (by->is_busy && !by->is_gone) {
      const loop::Wait wait = co_await by->freed.wait(deadline);
      if (wait != loop::Wait::kReady) co_return fail_temporary("the back end is busy");
    }
    if (by->is_gone) co_return fail_temporary("the back end has gone");
    by->is_busy = true;
  }
  if (worker != nullptr) *worker = by;
  std::string bytes = ipc::encode(job);
  const bool is_sent =
      bytes.size() <= agent::kMaxPacket && agent::send_packet(by->socket.get(), bytes);
  sasl::wipe(bytes);
  std::optional<agent::Packet> packet;
  while (is_sent && !by->is_gone) {
    const loop::Wait wait = co_await by->watch.readable(deadline);
    if (wait != loop::Wait::kReady) break;
    packet = agent::next_packet(by->socket.get());
    if (packet || by->watch.has_hung_up()) break;
    by->watch.clear_read();
  }
  const auto reply = packet ? ipc::decode<JobReply>(packet->bytes)
                            : Result<JobReply>(fail_temporary("the back end does not answer"));
  if (!reply) {
    log::warning("a worker has gone or is stuck; it is replaced");
    drop(by);
    co_return reply;
  }
  for (const auto& warning : reply->warnings) log::warning("SASL: {}", log::clean(warning));
  release(by);
  co_return reply;
}

namespace {

loop::Task<void> run_unheard(Workers& workers, Job job, Workers::WorkerPtr worker) {
  (void)co_await workers.run(std::move(job), {}, &worker);
  workers.login_ends(worker);
}

}  // namespace

void Workers::tell(WorkerPtr worker, Job job) {
  loop::spawn(run_unheard(*this, std::move(job), std::move(worker)));
}

void Workers::login_begins(const WorkerPtr& worker) { ++worker->logins; }

void Workers::login_ends(const WorkerPtr& worker) {
  if (worker->logins > 0) --worker->logins;
  if (worker->is_retired && worker->logins == 0 && !worker->is_busy && !worker->is_gone) {
    drop(worker);
  }
}

}  // namespace postern::auth
