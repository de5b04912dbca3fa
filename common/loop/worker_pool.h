// worker_pool.h - a few threads for what blocks: flushes, locks, libraries that wait.
//
// Jobs run in the order given, several at once. Threads start with the first job, after the process
// has dropped its rights. A job touches nothing that the loop's thread touches meanwhile.

#pragma once

#include <condition_variable>
#include <coroutine>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/loop/loop.h"

namespace postern::loop {

class WorkerPool final : Watched {
 public:
  explicit WorkerPool(unsigned threads);
  ~WorkerPool();  // waits for the jobs under way
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // co_await pool.run([...] { return f(); }) gives what the function returned.
  template <typename Function>
  [[nodiscard]] auto run(Function function) {
    return Awaiter<Function>(*this, std::move(function));
  }

 private:
  struct Job {
    std::coroutine_handle<> handle;
    virtual void work() = 0;

   protected:
    ~Job() = default;
  };

  template <typename Function>
  class Awaiter final : Job {
   public:
    using Value = std::invoke_result_t<Function>;
    Awaiter(WorkerPool& pool, Function function) : pool_(pool), function_(std::move(function)) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> awaiting) {
      this->handle = awaiting;
      pool_.submit(*this);
    }
    Value await_resume() {
      if constexpr (!std::is_void_v<Value>) return *std::move(value_);
    }

   private:
    void work() override {
      if constexpr (std::is_void_v<Value>) {
        function_();
      } else {
        value_.emplace(function_());
      }
    }
    struct Nothing {};
    WorkerPool& pool_;
    Function function_;
    std::optional<std::conditional_t<std::is_void_v<Value>, Nothing, Value>> value_;
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
