#include "common/loop/worker_pool.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <csignal>

namespace postern::loop {

WorkerPool::WorkerPool(unsigned threads)
    : limit_(std::max(1U, threads)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  assert(wake_);
  Loop::current().watch(wake_.get(), *this);
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
  for (auto& thread : threads_) thread.join();
  Loop::current().unwatch(wake_.get(), *this);
}

void WorkerPool::submit(Job& job) {
  bool start_thread = false;
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(&job);
    start_thread = jobs_.size() > idle_ && threads_.size() < limit_;
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
  wanted_.notify_one();
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wanted_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    Job* job = jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    job->work();
    lock.lock();
    done_.push_back(job);
    if (done_.size() == 1) {
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
    }
  }
}

void WorkerPool::on_events(std::uint32_t /*events*/) {
  std::vector<Job*> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (Job* job : done) Loop::current().post(job->handle);
}

}  // namespace postern::loop
