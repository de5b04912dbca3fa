// running_service.h - one service of the table while it runs: its listeners, its processes, when
// the next one starts.
//
//     no process        the listener is watched (on demand), or one is started at once
//     a process is free the listener is left to it: master sleeps
//     all are busy      the listener is watched again; a client starts a further process
//     a process died    nothing is started before the back-off (back_off.h) has passed
//
// The listeners stay open through all of that.

#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/loop/loop.h"
#include "master/back_off.h"
#include "master/child.h"
#include "master/listeners.h"
#include "master/service_table.h"

namespace postern::master {

// What a service asks of its supervisor.
class Host {
 public:
  // Starts a process and keeps it; nothing where that failed (said in the log).
  virtual Child* start(RunningService& service) = 0;
  [[nodiscard]] virtual std::chrono::seconds longest_back_off() const = 0;
  [[nodiscard]] virtual bool is_stopping() const = 0;

 protected:
  ~Host() = default;
};

// Which file a program was when it was started: a new one is noticed at reload.
struct ProgramId {
  dev_t device = 0;
  ino_t inode = 0;
  time_t changed = 0;
  friend bool operator==(const ProgramId&, const ProgramId&) = default;
};
[[nodiscard]] ProgramId identify_program(const std::string& path);

class RunningService final : loop::Watched {
 public:
  RunningService(Host& host, ServiceSpec spec, std::vector<ListenerPtr> listeners);
  ~RunningService();
  RunningService(const RunningService&) = delete;
  RunningService& operator=(const RunningService&) = delete;

  [[nodiscard]] const ServiceSpec& spec() const { return spec_; }
  [[nodiscard]] const std::vector<ListenerPtr>& listeners() const { return listeners_; }
  [[nodiscard]] const std::vector<Child*>& children() const { return children_; }

  // Whether the processes of this service can go on under a new line and new listeners.
  [[nodiscard]] bool can_take_over(const ServiceSpec& spec,
                                   const std::vector<ListenerPtr>& listeners) const;
  // Limits and wake-up times of a new line.
  void update(ServiceSpec spec);

  // Brings processes, watching and shares to what they should be.
  void adjust();
  // Serves nobody new: the processes are asked to end within `limit`.
  void drain(std::chrono::seconds limit);
  void wake(bool is_flush);

  void child_ready(Child& child);
  void child_load(Child& child, std::int64_t in_use, bool is_busy);
  // `status` as wait(2) gives it.
  void child_ended(Child& child, int status);
  // Further processes that nobody needs any more.
  void end_idle_children();

 private:
  void on_events(std::uint32_t events) override;
  void start_one();
  void watch();
  void unwatch();
  void share_out();
  void wait_after(std::optional<BackOff::Duration> served, bool failed);
  void arm_wakeup();
  [[nodiscard]] std::vector<Child*> living() const;
  [[nodiscard]] bool may_grow(const std::vector<Child*>& children) const;

  Host& host_;
  ServiceSpec spec_;
  std::vector<ListenerPtr> listeners_;
  ProgramId program_;
  std::vector<Child*> children_;
  bool watching_ = false;
  bool was_used_ = false;
  bool is_ending_ = false;
  BackOff back_off_;
  loop::TimePoint not_before_{};
  loop::CallbackTimer retry_{[this] { adjust(); }};
  loop::CallbackTimer proven_{[this] { back_off_.reset(); }};  // the last to be ready still serves
  loop::CallbackTimer wakeup_{[this] {
    arm_wakeup();
    wake(false);
  }};
};

}  // namespace postern::master
