// transaction.h - one mail transaction: its envelope, and our side of cleanup.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/cleanup_client.h"
#include "common/ipc/tables.h"
#include "common/queuefile/envelope.h"

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

  // Content begins: the envelope is final.
  void begin_content(ipc::CleanupClient& cleanup, std::int64_t session);
  [[nodiscard]] bool has_content() const { return submission_ != nullptr; }
  [[nodiscard]] ipc::Submission& submission() { return *submission_; }

 private:
  queuefile::Envelope envelope_;
  std::string queue_id_;
  std::unique_ptr<ipc::Submission> submission_;
};

}  // namespace postern::smtpd
