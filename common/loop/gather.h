// gather.h - several tasks under way at once.

#pragma once

#include <cstddef>

#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::loop {

// Each task stores its own result, see store(); done() waits for all. Lives until done() has
// returned.
class Gather {
 public:
  void add(Task<void> task) {
    ++left_;
    spawn(run(std::move(task)));
  }
  Task<void> done() {
    while (left_ > 0) co_await ready_.wait(kNever);
  }

 private:
  Task<void> run(Task<void> task) {
    co_await std::move(task);
    if (--left_ == 0) ready_.notify_all();
  }
  std::size_t left_ = 0;
  Condition ready_;
};

template <typename T>
Task<void> store(Task<T> task, T* out) {
  *out = co_await std::move(task);
}

}  // namespace postern::loop
