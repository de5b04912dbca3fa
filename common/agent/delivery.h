// delivery.h - one delivery that qmgr has handed to an agent: what is to be delivered, and what has
// become of each recipient.
//
//     loop::Task<void> deliver(std::shared_ptr<agent::Delivery> delivery) {
//       const queuefile::Message* message = co_await delivery->open();
//       if (message == nullptr) co_return;  // reported already
//       for (std::size_t i = 0; i < delivery->recipients().size(); ++i) {
//         delivery->delivered(i, {.status = "2.0.0", .text = "delivered", .relay = "local"});
//       }
//     }
//
// Each recipient is reported once: logged at once, told to qmgr at the end of the loop's turn in
// which the last of them became ready. A recipient that the handler leaves without a word is
// deferred when the handler ends.

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/agent/verdict.h"
#include "common/ipc/agent.h"
#include "common/loop/loop.h"
#include "common/loop/task.h"
#include "common/queuefile/reader.h"
#include "common/sys/fd.h"

namespace postern::agent {

class AgentService;

class Delivery final : public std::enable_shared_from_this<Delivery>, loop::TurnEnd {
 public:
  Delivery(AgentService& service, ipc::agent::Deliver request, sys::Fd fd);
  ~Delivery();
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  [[nodiscard]] const ipc::agent::Deliver& request() const { return request_; }
  [[nodiscard]] const std::string& queue_id() const { return request_.queue_id; }
  [[nodiscard]] const std::vector<ipc::agent::Recipient>& recipients() const {
    return request_.recipients;
  }
  // The queue file, read-only; only pread may be used on it.
  [[nodiscard]] int fd() const { return fd_.get(); }

  // The message, read and checked; the same on every later call. nullptr: the file is damaged or
  // cannot be read, which is reported, and nothing is to be delivered.
  [[nodiscard]] loop::Task<const queuefile::Message*> open();

  // For delays=a/b/c/d: c ends here, when the connection stands or has failed. Without it c is 0.
  void mark_connected() { connected_ = loop::Clock::now(); }
  // The next recipient is tried over another connection: its time counts again as c.
  void mark_connecting() { connected_ = {}; }

  void delivered(std::size_t recipient, const Verdict& verdict);
  void deferred(std::size_t recipient, const Verdict& verdict);
  // With soft_bounce = yes the recipient is deferred.
  void bounced(std::size_t recipient, const Verdict& verdict);
  // By the class of verdict.status: 4 defers, 5 bounces.
  void failed(std::size_t recipient, const Verdict& verdict);
  void defer_rest(const Verdict& verdict);
  void fail_rest(const Verdict& verdict);

  // For agents that expand a recipient into several deliveries: each is logged, under the address
  // that it went to, and the recipient as a whole is recorded once, by the worst of them.
  void log(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict,
           std::string_view address) const;
  void record(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict,
              ipc::agent::Share share = ipc::agent::Share::kWhole);
  // One of several places, or a note of success. Before record(), in the same turn of the loop.
  void record_part(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict,
                   ipc::agent::Share share);
  // What the administrator's filter makes of a verdict, for those who use log() and record().
  [[nodiscard]] loop::Task<Verdict> filtered(Verdict verdict);
  // Another agent takes it from here: mailbox_transport, fallback_transport, best_mx_transport.
  void reroute(std::size_t recipient, std::string_view transport_and_nexthop,
               std::string_view address);

  [[nodiscard]] bool is_reported(std::size_t recipient) const { return reported_[recipient]; }
  [[nodiscard]] std::size_t unreported() const { return unreported_; }

  // The next hop itself could not be reached: qmgr sends it less. Before the last recipient.
  void mark_destination_failure() { is_destination_failure_ = true; }
  // The file is damaged: it is set aside, no recipient is reported.
  void report_damage(std::string_view what);

 private:
  friend class AgentService;
  void report(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict);
  void add_report(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict,
                  ipc::agent::Share share = ipc::agent::Share::kWhole);
  loop::Task<void> report_filtered(std::size_t recipient, ipc::agent::Outcome outcome,
                                   Verdict verdict);
  void on_turn_end() override;
  // The handler has ended.
  [[nodiscard]] loop::Task<void> finish();

  AgentService& service_;
  ipc::agent::Deliver request_;
  sys::Fd fd_;
  std::unique_ptr<queuefile::Message> message_;
  std::chrono::microseconds in_queue_{};  // from active to the start here
  loop::TimePoint started_ = loop::Clock::now();
  loop::TimePoint connected_{};
  std::vector<bool> reported_;
  std::size_t unreported_ = 0;
  std::size_t in_filter_ = 0;  // of those that count as reported
  loop::Condition filter_done_;
  bool is_destination_failure_ = false;
  bool is_over_ = false;    // the last report is on its way
  bool is_orphan_ = false;  // the connection that it came over has ended
  std::vector<ipc::agent::RecipientReport> ready_;
};

}  // namespace postern::agent
