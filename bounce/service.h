// service.h - what qmgr asks of bounce, defer and trace: keep reasons, make notifications.
//
// A failure is on disk before it is acknowledged; a notification is committed by cleanup before the
// log that it was made from is removed. So a crash repeats a notification rather than losing it.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bounce/report.h"
#include "common/daemon/daemon.h"
#include "common/ipc/bounce.h"
#include "common/ipc/cleanup_client.h"
#include "common/ipc/server.h"
#include "common/loop/worker_pool.h"
#include "common/queuefile/queue_dir.h"
#include "common/queuefile/reader.h"
#include "common/queuefile/reason_log.h"

namespace postern::bounce {

struct Settings {
  std::string myhostname{};
  std::string mail_name{};
  std::string double_bounce{};  // the sender of what must not be returned
  std::string bounce_notice_recipient{};
  std::string n2bounce_notice_recipient{};
  std::string delay_notice_recipient{};
  bool copies_bounces = false;  // notify_classes
  bool copies_2bounces = false;
  bool copies_delays = false;
  bool disable_verp_bounces = false;
  bool enable_threaded_bounces = false;
  std::uint64_t bounce_size_limit = 0;
  std::chrono::seconds maximal_queue_lifetime{};
  Templates templates{};
};

class Service {
 public:
  Service(daemon::Process& process, queuefile::QueueDirs dirs);
  void start();

 private:
  // The message that a notification is about.
  struct Subject {
    queuefile::Envelope envelope{};
    std::uint64_t size = 0;
    std::string header{};
    std::string body{};  // empty when it is not to be returned
  };
  // One notification to be sent.
  struct Notice {
    NoticeKind kind = NoticeKind::kFailure;
    Audience audience = Audience::kSender;
    std::string sender{};
    std::string to{};
    std::string_view what{};  // for the log line: "sender non-delivery"
    Returned returned = Returned::kHeaders;
  };

  [[nodiscard]] loop::Task<Result<ipc::Done>> append(ipc::bounce::Append request);
  [[nodiscard]] loop::Task<Result<ipc::bounce::Sent>> notify(ipc::bounce::Notify request,
                                                             sys::Fd message);
  [[nodiscard]] loop::Task<Result<ipc::Done>> forget(ipc::bounce::Forget request);

  [[nodiscard]] loop::Task<Result<std::vector<queuefile::Reason>>> collect(
      ipc::bounce::Notify request, const queuefile::Envelope* envelope);
  [[nodiscard]] loop::Task<Result<Subject>> read_subject(sys::Fd message);
  [[nodiscard]] std::vector<Notice> plan(const ipc::bounce::Notify& request, std::uint64_t size,
                                         const std::string& sender) const;
  [[nodiscard]] loop::Task<Result<std::string>> send(Notice notice,
                                                     const ipc::bounce::Notify& request,
                                                     const Subject& subject,
                                                     const std::vector<queuefile::Reason>& reasons);
  // All notices of one request; an error when the sender could not be told.
  [[nodiscard]] loop::Task<Result<std::string>> send_all(
      const ipc::bounce::Notify& request, const Subject& subject,
      const std::vector<queuefile::Reason>& reasons, const std::string& sender);
  // What failed behind a list with an owner is his; it is taken out of the reasons.
  [[nodiscard]] loop::Task<Result<ipc::bounce::Sent>> tell_owners(
      const ipc::bounce::Notify& request, const Subject& subject,
      std::vector<queuefile::Reason>& reasons);
  void remove_logs(const ipc::bounce::Notify& request);
  // Delay warnings are sent once.
  void mark_warned(const std::string& queue_id);
  [[nodiscard]] bool was_warned(const std::string& queue_id);
  void configure();
  void begin();
  void end();

  daemon::Process& process_;
  Settings settings_;
  queuefile::QueueDirs dirs_;
  ipc::CleanupClient cleanup_;
  loop::WorkerPool pool_;
  ipc::Server server_;
  std::size_t in_use_ = 0;
};

// The same without a daemon around it, for tests: the reasons that a notification is made of.
// `bounced` and `deferred` are the logs; with is_expired recipients that still wait are returned
// with the last reason known, those without any as expired.
[[nodiscard]] std::vector<queuefile::Reason> reasons_to_return(
    const std::vector<queuefile::Reason>& bounced, const std::vector<queuefile::Reason>& deferred,
    const queuefile::Envelope* envelope, bool is_expired);

}  // namespace postern::bounce
