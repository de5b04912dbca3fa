#include "common/loop/batch_pool.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <csignal>

namespace postern::loop {

namespace {
// More in one batch would make the first of them wait for the last.
constexpr std::size_t kMaxBatch = 64;
}  // namespace

BatchPool::BatchPool(unsigned threads)
    : limit_(std::max(1U, threads)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  assert(wake_);
  Loop::current().watch(wake_.get(), *this);
}

BatchPool::~BatchPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
  for (auto& thread : threads_) thread.join();
  Loop::current().unwatch(wake_.get(), *this);
}

void BatchPool::submit(Job& job) {
  bool start_thread = false;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(&job);
    // One that is on its way takes this job along: only the first of a batch wakes somebody.
    wake = jobs_.size() == 1 && idle_ > 0;
    start_thread = idle_ == 0 && threads_.size() < limit_;
  }
  if (start_thread) {
    // Signals are the loop's: a worker that took one would hide it from signalfd.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    threads_.emplace_back([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  if (wake) wanted_.notify_one();
}

void BatchPool::work() {
  std::vector<Job*> batch;
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wanted_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    const auto count = static_cast<std::ptrdiff_t>(std::min(jobs_.size(), kMaxBatch));
    batch.assign(jobs_.begin(), jobs_.begin() + count);
    jobs_.erase(jobs_.begin(), jobs_.begin() + count);
    lock.unlock();
    for (Job* job : batch) job->prepare();
    for (Job* job : batch) job->complete();
    lock.lock();
    const bool is_first = done_.empty();
    done_.insert(done_.end(), batch.begin(), batch.end());
    if (is_first) {
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
    }
  }
}

void BatchPool::on_events(std::uint32_t /*events*/) {
  std::vector<Job*> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (Job* job : done) Loop::current().post(job->handle);
}

}  // namespace postern::loop
