// gather.h - several questions of one session under way at once.

#pragma once

#include <cstddef>

#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::smtpd {

// Each task stores its own result; done() waits for all. Lives until done() has returned.
class Gather {
 public:
  void add(loop::Task<void> task) {
    ++left_;
    loop::spawn(run(std::move(task)));
  }
  loop::Task<void> done() {
    while (left_ > 0) co_await ready_.wait(loop::kNever);
  }

 private:
  loop::Task<void> run(loop::Task<void> task) {
    co_await std::move(task);
    if (--left_ == 0) ready_.notify_all();
  }
  std::size_t left_ = 0;
  loop::Condition ready_;
};

template <typename T>
loop::Task<void> store(loop::Task<T> task, T* out) {
  *out = co_await std::move(task);
}

}  // namespace postern::smtpd
