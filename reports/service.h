// service.h - collects results by day and domain, and sends what domains ask for once a day is over
// (UTC).
//
//     results -> Days (kept in data_directory/reports.lmdb) -> report -> mail or HTTPS
//
// A report that cannot be sent is tried again each hour, and given up a day after its first try
// (RFC 8460 4.1 has it so for HTTPS; DMARC says nothing). One domain's trouble is not another's.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/config/params/report.h"
#include "common/daemon/daemon.h"
#include "common/ipc/client.h"
#include "common/ipc/reports.h"
#include "common/ipc/resolver.h"
#include "common/ipc/server.h"
#include "common/mailauth/public_suffix.h"
#include "common/table/kept.h"
#include "reports/days.h"
#include "reports/delivery.h"
#include "reports/records.h"

namespace postern::reports {

struct Surroundings {
  table::Kept store;
  mailauth::PublicSuffixes suffixes;
};
// Before the rights are dropped.
[[nodiscard]] Surroundings open_surroundings(daemon::Process& process);

class Service {
 public:
  Service(daemon::Process& process, Surroundings surroundings);
  void start();

 private:
  struct Task {
    ipc::reports::Kind kind;
    std::string day, domain;
    friend auto operator<=>(const Task&, const Task&) = default;
  };

  void configure();
  void note(const ipc::reports::TlsResult& result);
  void note(ipc::reports::DmarcResult result);
  void write_later();
  void write();

  [[nodiscard]] std::vector<Task> due(std::int64_t now) const;
  [[nodiscard]] std::vector<Task> all(ipc::reports::Kind kind) const;
  void look_for_due();
  loop::Task<void> send_due();
  [[nodiscard]] loop::Task<Result<ipc::reports::Listing>> send_all(ipc::reports::Kind kind);
  // What became of it; nothing where nobody wants it, or where it is tried again.
  [[nodiscard]] loop::Task<std::optional<ipc::reports::Line>> send(Task task, bool is_last_try);
  [[nodiscard]] loop::Task<Result<std::vector<mail::ReportAddress>>> addresses_of(Task task);
  [[nodiscard]] loop::Task<Result<bool>> is_welcome(std::string domain, std::string host);
  [[nodiscard]] Result<Report> make(const Task& task) const;
  void forget(const Task& task);
  void remember(ipc::reports::Line line);
  [[nodiscard]] ipc::reports::Listing list(ipc::reports::Kind kind) const;

  daemon::Process& process_;
  Surroundings surroundings_;
  ipc::Server server_;
  ipc::Client resolver_{"private/resolver"};
  Delivery delivery_;
  config::ReportParams params_;
  Days<TlsDay> tls_;
  Days<DmarcDay> dmarc_;
  std::vector<ipc::reports::Line> history_;
  std::map<Task, std::int64_t> next_try_;
  bool is_sending_ = false;
  bool has_warned_ = false;
  loop::Condition sent_;
  loop::CallbackTimer write_timer_{[this] { write(); }};
  loop::CallbackTimer due_timer_{[this] { look_for_due(); }};
};

}  // namespace postern::reports
