// service.h - the listener of one spawn line, and the commands that run for its clients.

#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "common/daemon/daemon.h"
#include "common/loop/loop.h"
#include "common/sys/privilege.h"
#include "spawn/command.h"

namespace postern::spawn {

class Service final : loop::Watched {
 public:
  explicit Service(daemon::Process& process);
  ~Service();
  void start();

 private:
  // One command under way; it is killed at its time limit.
  class Child;

  void on_events(std::uint32_t events) override;
  void configure();
  void watch();
  void unwatch();
  void run(sys::Fd client);
  void ended(pid_t pid, int status);

  daemon::Process& process_;
  std::vector<sys::Fd> listeners_;
  Command command_;
  sys::Account account_;
  std::vector<std::string> environment_;
  std::chrono::seconds time_limit_{1000};
  std::unordered_map<pid_t, std::unique_ptr<Child>> children_;
  std::int64_t limit_ = 0;  // 0: none
  bool watching_ = false;
};

}  // namespace postern::spawn
