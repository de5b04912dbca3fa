// child.h - one process that master has started, and how it is started.

#pragma once

#include <bitset>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/ipc/channel.h"
#include "common/ipc/identity.h"
#include "common/loop/loop.h"
#include "common/sys/fd.h"
#include "master/service_table.h"

namespace postern::master {

class RunningService;

// Numbers that differ between all processes that live at the same time: part of the queue ids that
// they make.
class SlotPool {
 public:
  static constexpr unsigned kSlots = 256;
  [[nodiscard]] std::optional<unsigned> take();
  void give_back(unsigned slot) { taken_.reset(slot); }

 private:
  std::bitset<kSlots> taken_;
  unsigned next_ = 0;  // a number is used again as late as possible
};

// What all children get, beside what is their own.
struct Surroundings {
  int snapshot = -1;
  int empty_network = -1;  // for those that need none; -1 where there cannot be one
  int log_write = -1;
  int log_read = -1;          // for the log writer alone
  bool keeps_output = false;  // the log writer writes to our standard output
  std::vector<std::string> environment;
  std::vector<ipc::Identity> identities;  // of those who have to prove who they are
};

struct Child {
  Child(pid_t process, const ServiceSpec& spec, unsigned number)
      : pid(process), path(spec.path), slot(number) {}
  ~Child() {
    if (control) control->close();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid;
  std::string path;
  unsigned slot;
  RunningService* service = nullptr;  // nothing once its service is gone
  ipc::ChannelPtr control;
  loop::TimePoint idle_since = loop::Clock::now();
  std::optional<loop::TimePoint> ready_since;
  bool is_busy = false;
  bool is_draining = false;
  std::int64_t in_use = 0;
  std::int64_t told_share = -1;
  bool told_stress = false;

  // A child that does not read is not written to any more.
  template <typename Notice>
  void tell(const Notice& notice, std::vector<sys::Fd> fds = {}) {
    if (control && control->pending_output() < kMaxUnread) control->notify(notice, std::move(fds));
  }
  // Accept nothing more; whoever is still there after `limit` is ended.
  void drain(std::chrono::seconds limit);
  void kill(int signal) const;

 private:
  static constexpr std::size_t kMaxUnread = std::size_t{64} << 10;
  void press();
  unsigned pressed_ = 0;
  loop::CallbackTimer deadline_{[this] { press(); }};
};

// The descriptors of `listeners` become 6 and following of the new process.
[[nodiscard]] Result<std::unique_ptr<Child>> start_child(const ServiceSpec& spec,
                                                         const std::vector<int>& listeners,
                                                         const Surroundings& surroundings,
                                                         unsigned slot,
                                                         const ipc::Dispatcher& dispatcher);

}  // namespace postern::master
