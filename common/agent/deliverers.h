// deliverers.h - main's side of the deliverers: one for each uid, made when needed, kept and
// reused.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "common/agent/jobs.h"
#include "common/loop/loop.h"
#include "common/loop/named_locks.h"
#include "common/loop/task.h"
#include "common/queuefile/layout.h"
#include "common/sys/fd.h"

namespace postern::agent {

// On whose behalf something is done.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string user{};  // of passwd; empty for rights without a user

  friend auto operator<=>(const Identity&, const Identity&) = default;
};

class Deliverers {
 public:
  // `broker` is what fork_broker() gave.
  explicit Deliverers(sys::Fd broker);
  ~Deliverers();
  Deliverers(const Deliverers&) = delete;
  Deliverers& operator=(const Deliverers&) = delete;

  // Has the job done. An Error is temporary and says why nobody could do it. For kOpen the file
  // comes in *opened. Jobs for one mbox, and for one command line of a user, are done one after
  // the other, as they were given.
  [[nodiscard]] loop::Task<Result<JobReply>> run(Identity who, Job job, int message_fd,
                                                 sys::Fd* opened = nullptr);
  // An empty mailbox for a user of passwd, made by the broker.
  [[nodiscard]] loop::Task<Result<void>> make_mailbox(Identity who);
  // root's own .forward file, of that name; nothing when there is none.
  [[nodiscard]] loop::Task<Result<sys::Fd>> open_root_forward(std::string user, std::string name);

 private:
  class Deliverer;
  using DelivererPtr = std::shared_ptr<Deliverer>;
  struct BrokerAnswer {
    BrokerReply reply;
    sys::Fd fd;
  };

  [[nodiscard]] loop::Task<Result<DelivererPtr>> find(Identity who);
  [[nodiscard]] loop::Task<Result<DelivererPtr>> make(Identity who);
  [[nodiscard]] loop::Task<Result<BrokerAnswer>> ask_broker(BrokerRequest request);
  void make_room();
  void end_idle();

  sys::Fd broker_;
  loop::FdWatch broker_watch_;
  bool broker_busy_ = false;
  loop::Condition broker_free_;
  std::map<Identity, DelivererPtr> deliverers_;
  std::set<Identity> being_made_;
  loop::Condition made_;
  std::int64_t last_id_ = 0;
  // mboxes and command lines: the kernel's locks do not part threads of one process.
  loop::NamedLocks one_at_a_time_;
  loop::CallbackTimer idle_timer_;
};

}  // namespace postern::agent
