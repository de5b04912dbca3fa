// agent_job.h - the delivery of a delivery agent (agent::Delivery, which stands above this library)
// as a Job of the engine.

#pragma once

#include <memory>
#include <utility>

#include "common/smtpclient/job.h"

namespace postern::smtpclient {

template <typename Delivery, typename AgentVerdict>
class AgentJob final : public Job {
 public:
  // `message` is what delivery->open() gave.
  AgentJob(std::shared_ptr<Delivery> delivery, const queuefile::Message& message,
           loop::WorkerPool& pool)
      : delivery_(std::move(delivery)), message_(message), pool_(pool) {}

  [[nodiscard]] const std::string& queue_id() const override { return delivery_->queue_id(); }
  [[nodiscard]] bool is_busy_destination() const override {
    return delivery_->request().is_busy_destination;
  }
  [[nodiscard]] const std::string& nexthop() const override { return delivery_->request().nexthop; }
  [[nodiscard]] const std::string& sender() const override { return delivery_->request().sender; }
  [[nodiscard]] std::size_t recipients() const override { return delivery_->recipients().size(); }
  [[nodiscard]] Recipient recipient(std::size_t index) const override {
    const auto& to = delivery_->recipients()[index];
    return {to.address, to.orig_to, to.dsn_orcpt, to.notify};
  }
  [[nodiscard]] const queuefile::Message& message() const override { return message_; }
  [[nodiscard]] int fd() const override { return delivery_->fd(); }
  [[nodiscard]] loop::WorkerPool& pool() override { return pool_; }

  void mark_connecting() override { delivery_->mark_connecting(); }
  void mark_connected() override { delivery_->mark_connected(); }
  void delivered(std::size_t recipient, const Verdict& verdict) override {
    delivery_->delivered(recipient, convert(verdict));
  }
  void failed(std::size_t recipient, const Verdict& verdict) override {
    delivery_->failed(recipient, convert(verdict));
  }
  void reroute(std::size_t recipient, const std::string& transport_and_nexthop) override {
    delivery_->reroute(recipient, transport_and_nexthop, {});
  }
  [[nodiscard]] bool is_reported(std::size_t recipient) const override {
    return delivery_->is_reported(recipient);
  }
  [[nodiscard]] std::size_t unreported() const override { return delivery_->unreported(); }
  void mark_destination_failure() override { delivery_->mark_destination_failure(); }

 private:
  [[nodiscard]] static AgentVerdict convert(const Verdict& verdict) {
    return {.status = verdict.status,
            .text = verdict.text,
            .relay = verdict.relay,
            .conn_use = verdict.conn_use,
            .remote_mta = verdict.remote_mta,
            .diagnostic_type = verdict.diagnostic_type,
            .diagnostic = verdict.diagnostic,
            .action = verdict.action};
  }

  std::shared_ptr<Delivery> delivery_;
  const queuefile::Message& message_;
  loop::WorkerPool& pool_;
};

}  // namespace postern::smtpclient
