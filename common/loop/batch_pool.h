// batch_pool.h - jobs that end with a flush, done many at a time.
//
// A job has two steps: prepare() writes, complete() makes durable. A thread that is free takes all
// jobs that wait, prepares every one, then completes every one: the first flush makes the file
// system commit what the others have written too, so that a batch costs little more than one of
// them, and two context switches instead of two for each. With one job waiting nothing is delayed.

#pragma once

#include <condition_variable>
#include <coroutine>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/result.h"
#include "common/loop/loop.h"

namespace postern::loop {

class BatchPool final : Watched {
 public:
  explicit BatchPool(unsigned threads);
  ~BatchPool();  // waits for the jobs under way
  BatchPool(const BatchPool&) = delete;
  BatchPool& operator=(const BatchPool&) = delete;

  // co_await pool.run(prepare, complete): both are Result<void>(); the second runs only after a
  // success of the first. What they refer to lives in the awaiting coroutine.
  template <typename Prepare, typename Complete>
  [[nodiscard]] auto run(Prepare prepare, Complete complete) {
    return Awaiter<Prepare, Complete>(*this, std::move(prepare), std::move(complete));
  }

 private:
  struct Job {
    std::coroutine_handle<> handle;
    Result<void> result;
    virtual void prepare() = 0;
    virtual void complete() = 0;

   protected:
    ~Job() = default;
  };

  template <typename Prepare, typename Complete>
  class Awaiter final : Job {
   public:
    Awaiter(BatchPool& pool, Prepare prepare, Complete complete)
        : pool_(pool), prepare_(std::move(prepare)), complete_(std::move(complete)) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> awaiting) {
      this->handle = awaiting;
      pool_.submit(*this);
    }
    Result<void> await_resume() { return std::move(this->result); }

   private:
    void prepare() override { this->result = prepare_(); }
    void complete() override {
      if (this->result) this->result = complete_();
    }
    BatchPool& pool_;
    Prepare prepare_;
    Complete complete_;
  };

  void submit(Job& job);
  void work();
  void on_events(std::uint32_t events) override;

  const unsigned limit_;
  sys::Fd wake_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::deque<Job*> jobs_;
  std::vector<Job*> done_;
  unsigned idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace postern::loop
