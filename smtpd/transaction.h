// transaction.h - one mail transaction: its envelope, and our side of cleanup.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/cleanup_client.h"
#include "common/ipc/tables.h"
#include "common/queuefile/envelope.h"
#include "smtpd/restrictions/state.h"

namespace postern::smtpd {

class Transaction {
 public:
  explicit Transaction(std::string sender) { envelope_.sender = std::move(sender); }

  [[nodiscard]] queuefile::Envelope& envelope() { return envelope_; }
  [[nodiscard]] const queuefile::Envelope& envelope() const { return envelope_; }
  [[nodiscard]] std::size_t recipients() const { return envelope_.recipients.size(); }
  void add(queuefile::Recipient recipient) { envelope_.recipients.push_back(std::move(recipient)); }

  // Empty until the first recipient was accepted.
  [[nodiscard]] const std::string& queue_id() const { return queue_id_; }
  void set_queue_id(std::string id) { queue_id_ = std::move(id); }

  // receive_override_options.
  void override_with(std::int64_t bits) { overrides_ = bits; }

  // The milters' conversations, for cleanup to go on with.
  void set_milters(ipc::milter::Handover handover, std::vector<sys::Fd> fds) {
    milters_ = std::move(handover);
    milter_fds_ = std::move(fds);
  }

  // Content begins: the envelope is final.
  void begin_content(ipc::CleanupClient& cleanup, std::int64_t session,
                     const MessageActions& actions);
  // What restrictions at the end of data have added.
  [[nodiscard]] ipc::SubmissionEnd end_of_content(const MessageActions& actions) const;
  [[nodiscard]] bool has_content() const { return submission_ != nullptr; }
  [[nodiscard]] ipc::Submission& submission() { return *submission_; }
  [[nodiscard]] std::uint64_t submission_size() const { return submission_->size(); }
  // All content is there: so many lines.
  void set_lines(std::uint64_t lines) { lines_ = lines; }
  [[nodiscard]] std::uint64_t wire_size() const { return submission_->size() + lines_; }

 private:
  queuefile::Envelope envelope_;
  std::string queue_id_;
  std::unique_ptr<ipc::Submission> submission_;
  std::uint64_t lines_ = 0;
  std::size_t bcc_sent_ = 0;
  std::int64_t overrides_ = 0;
  ipc::milter::Handover milters_;
  std::vector<sys::Fd> milter_fds_;
};

}  // namespace postern::smtpd
