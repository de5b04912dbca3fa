// collector.h - reads maildrop/ and hands each message to cleanup.
//
// Files there belong to ordinary users (written by postdrop) or to mail_owner (put there by
// postsuper -r). A file is removed after cleanup has committed its message; what cannot be read is
// left where it is and told once; after a temporary failure all is tried again by itself; what
// cleanup refuses for good is removed, and the sender's notification is made by cleanup's refusal
// line in the log.

#pragma once

#include <set>
#include <string>

#include "common/daemon/daemon.h"
#include "common/ipc/cleanup_client.h"
#include "common/ipc/server.h"
#include "common/loop/loop.h"
#include "common/queuefile/envelope.h"
#include "common/queuefile/layout.h"
#include "common/queuefile/queue_id.h"
#include "common/sys/fd.h"
#include "pickup/retry_pause.h"

namespace postern::pickup {

class Collector {
 public:
  explicit Collector(daemon::Process& process);
  void start();

 private:
  struct Drop {
    std::string path;
    sys::Fd fd;
    queuefile::Envelope envelope;
    queuefile::Layout layout;
    uid_t uid = 0;
  };
  void collect();
  void retry_later();
  loop::Task<void> scan();
  loop::Task<void> take(std::string name);
  [[nodiscard]] Result<Drop> open(const std::string& name) const;
  [[nodiscard]] loop::Task<Result<ipc::cleanup::Outcome>> submit(Drop& drop, const std::string& id,
                                                                 const std::string& refusal);
  [[nodiscard]] loop::Task<Result<void>> add_extent(ipc::Submission& submission, int fd,
                                                    queuefile::Extent extent,
                                                    loop::Deadline deadline);

  daemon::Process& process_;
  ipc::Server server_;
  queuefile::QueueIdSource ids_;
  ipc::CleanupClient cleanup_;
  bool is_scanning_ = false;
  bool scan_again_ = false;
  unsigned under_way_ = 0;
  loop::Condition room_;
  std::set<std::string> busy_;      // names under way
  std::set<std::string> reported_;  // told of already, bounded
  RetryPause pause_;
  loop::CallbackTimer retry_{[this] { collect(); }};
};

}  // namespace postern::pickup
