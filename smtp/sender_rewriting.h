// sender_rewriting.h - SRS on the way out: which recipients of a delivery are there because mail
// for an address of ours was sent on, and the sender that their next hop is to see.
//
// The mark is in the envelope: cleanup keeps the address that the mail was first for. Where its
// domain is another one than that of the recipient, an alias, virtual alias or .forward file has
// sent the mail on. Mail that is only relayed keeps its recipient, and so its sender.

#pragma once

#include <string>
#include <vector>

#include "common/config/values.h"
#include "common/ipc/client.h"
#include "common/ipc/srs.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/smtpclient/job.h"

namespace postern::smtp {

// A part of a delivery, with a sender of its own.
class PartialJob final : public smtpclient::Job {
 public:
  // `whole` outlives this.
  PartialJob(smtpclient::Job& whole, std::vector<std::size_t> recipients, std::string sender)
      : whole_(whole), indices_(std::move(recipients)), sender_(std::move(sender)) {}

  [[nodiscard]] const std::string& queue_id() const override { return whole_.queue_id(); }
  [[nodiscard]] const std::string& nexthop() const override { return whole_.nexthop(); }
  [[nodiscard]] const std::string& sender() const override { return sender_; }
  [[nodiscard]] std::size_t recipients() const override { return indices_.size(); }
  [[nodiscard]] smtpclient::Recipient recipient(std::size_t index) const override {
    return whole_.recipient(indices_[index]);
  }
  [[nodiscard]] const queuefile::Message& message() const override { return whole_.message(); }
  [[nodiscard]] int fd() const override { return whole_.fd(); }
  [[nodiscard]] loop::WorkerPool& pool() override { return whole_.pool(); }
  void mark_connecting() override { whole_.mark_connecting(); }
  void mark_connected() override { whole_.mark_connected(); }
  void delivered(std::size_t recipient, const smtpclient::Verdict& verdict) override {
    whole_.delivered(indices_[recipient], verdict);
  }
  void failed(std::size_t recipient, const smtpclient::Verdict& verdict) override {
    whole_.failed(indices_[recipient], verdict);
  }
  void reroute(std::size_t recipient, const std::string& transport_and_nexthop) override {
    whole_.reroute(indices_[recipient], transport_and_nexthop);
  }
  [[nodiscard]] bool is_reported(std::size_t recipient) const override {
    return whole_.is_reported(indices_[recipient]);
  }
  [[nodiscard]] std::size_t unreported() const override {
    std::size_t count = 0;
    for (const std::size_t index : indices_) count += whole_.is_reported(index) ? 0 : 1;
    return count;
  }
  void mark_destination_failure() override { whole_.mark_destination_failure(); }

 private:
  smtpclient::Job& whole_;
  std::vector<std::size_t> indices_;
  std::string sender_;
};

class SenderRewriting {
 public:
  // Both outlive this.
  SenderRewriting(ipc::Client& keyring, ipc::TablesClient& tables)
      : keyring_(keyring), tables_(tables) {}
  void configure(const config::Values& values);
  // Otherwise there is nothing to plan.
  [[nodiscard]] bool is_used() const { return is_enabled_ || !tagged_domains_.empty(); }

  struct Plan {
    std::vector<std::size_t> forwarded, others;
    std::string sender;         // for the forwarded ones
    std::string others_sender;  // BATV; empty: as it is
  };
  // Everything in `others` where nothing is to be rewritten. An error is temporary, and about the
  // forwarded ones only.
  [[nodiscard]] loop::Task<Result<void>> plan(const smtpclient::Job& job, Plan* plan);

 private:
  [[nodiscard]] loop::Task<Result<bool>> is_excluded(std::string domain);
  // BATV: the sender of our own with its tag, or as it is.
  [[nodiscard]] loop::Task<std::string> tagged(const smtpclient::Job& job);

  ipc::Client& keyring_;
  ipc::TablesClient& tables_;
  bool is_enabled_ = false;
  std::string domain_;
  std::vector<std::string> excluded_;
  std::vector<std::string> tagged_domains_;
};

}  // namespace postern::smtp
