#include "common/agent/delivery.h"

#include <algorithm>
#include <cassert>

#include "common/agent/service.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"

namespace postern::agent {

namespace {

std::int64_t wall_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

constexpr std::size_t kMaxLoggedText = 1500;

std::string_view action_of(ipc::agent::Outcome outcome) {
  switch (outcome) {
    case ipc::agent::Outcome::kDelivered:
      return "delivered";
    case ipc::agent::Outcome::kDeferred:
      return "delayed";
    case ipc::agent::Outcome::kBounced:
      return "failed";
    case ipc::agent::Outcome::kRerouted:
      break;
  }
  return "delayed";
}

}  // namespace

Delivery::Delivery(AgentService& service, ipc::agent::Deliver request, sys::Fd fd)
    : service_(service),
      request_(std::move(request)),
      fd_(std::move(fd)),
      reported_(request_.recipients.size()),
      unreported_(request_.recipients.size()) {
  in_queue_ = std::chrono::microseconds(
      std::max<std::int64_t>(0, wall_us() - std::max(request_.active_us, request_.arrival_us)));
}

Delivery::~Delivery() { loop::Loop::current().forget(*this); }

loop::Task<const queuefile::Message*> Delivery::open() {
  if (message_ != nullptr) co_return message_.get();
  const queuefile::OpenOptions options{
      .verify = request_.is_fresh ? queuefile::Verify::kStructure : queuefile::Verify::kEverything,
      .recipients = queuefile::Recipients::kSkip};  // those of this delivery came with it
  const int fd = fd_.get();
  queuefile::Opened<queuefile::Message> opened =
      std::unexpected(queuefile::Refusal{queuefile::RefusalKind::kNotRead, "not read"});
  if (request_.message_size < static_cast<std::int64_t>(queuefile::kSmallFile)) {
    opened = queuefile::open_message(fd, options);
  } else {
    opened = co_await service_.pool().run(
        [fd, options] { return queuefile::open_message(fd, options); });
  }
  if (opened) {
    message_ = std::make_unique<queuefile::Message>(*std::move(opened));
    co_return message_.get();
  }
  const queuefile::Refusal& refusal = opened.error();
  if (refusal.kind == queuefile::RefusalKind::kDamaged ||
      refusal.kind == queuefile::RefusalKind::kNoTrailer) {
    report_damage(refusal.text);
  } else {
    log::warning("{}: queue file: {}", request_.queue_id, refusal.text);
    defer_rest({.status = "4.3.0", .text = "cannot read the message: " + refusal.text});
  }
  co_return nullptr;
}

void Delivery::delivered(std::size_t recipient, const Verdict& verdict) {
  report(recipient, ipc::agent::Outcome::kDelivered, verdict);
}

void Delivery::deferred(std::size_t recipient, const Verdict& verdict) {
  report(recipient, ipc::agent::Outcome::kDeferred, verdict);
}

void Delivery::bounced(std::size_t recipient, const Verdict& verdict) {
  report(recipient, ipc::agent::Outcome::kBounced, verdict);
}

void Delivery::failed(std::size_t recipient, const Verdict& verdict) {
  if (verdict.status.starts_with('5')) {
    bounced(recipient, verdict);
  } else {
    deferred(recipient, verdict);
  }
}

void Delivery::defer_rest(const Verdict& verdict) {
  for (std::size_t i = 0; i < reported_.size(); ++i) {
    if (!reported_[i]) deferred(i, verdict);
  }
}

void Delivery::fail_rest(const Verdict& verdict) {
  for (std::size_t i = 0; i < reported_.size(); ++i) {
    if (!reported_[i]) failed(i, verdict);
  }
}

void Delivery::report(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict) {
  assert(recipient < reported_.size());
  if (reported_[recipient] || is_over_) return;
  if (!service_.filter_.is_active()) {
    log(recipient, outcome, verdict, request_.recipients[recipient].address);
    record(recipient, outcome, verdict);
    return;
  }
  reported_[recipient] = true;
  --unreported_;
  ++in_filter_;
  loop::spawn(report_filtered(recipient, outcome, verdict));
}

loop::Task<Verdict> Delivery::filtered(Verdict verdict) {
  if (!service_.filter_.is_active()) co_return verdict;
  Verdict changed = co_await service_.filter_.apply(std::move(verdict));
  co_return changed;
}

loop::Task<void> Delivery::report_filtered(std::size_t recipient, ipc::agent::Outcome outcome,
                                           Verdict verdict) {
  const auto self = shared_from_this();
  verdict = co_await service_.filter_.apply(std::move(verdict));
  if (verdict.status.starts_with('4')) outcome = ipc::agent::Outcome::kDeferred;
  if (verdict.status.starts_with('5')) outcome = ipc::agent::Outcome::kBounced;
  log(recipient, outcome, verdict, request_.recipients[recipient].address);
  --in_filter_;
  add_report(recipient, outcome, verdict);
  filter_done_.notify_all();
}

void Delivery::log(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict,
                   std::string_view address) const {
  const auto us = [](auto time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time);
  };
  // info_log_addr_form = external
  const std::string shown = mail::quote_address(address);
  const std::string orig_to = mail::quote_address(request_.recipients[recipient].orig_to);
  const auto now = loop::Clock::now();
  const bool has_connected = connected_ != loop::TimePoint{};
  log::Delays delays;
  delays.before_queue = std::chrono::microseconds(
      std::max<std::int64_t>(0, request_.active_us - request_.arrival_us));
  delays.in_queue = in_queue_;
  delays.connection = has_connected ? us(connected_ - started_) : std::chrono::microseconds(0);
  delays.transmission = us(now - (has_connected ? connected_ : started_));
  const std::string text = log::clean(verdict.text, kMaxLoggedText);
  std::string dsn = verdict.status;
  if (outcome == ipc::agent::Outcome::kBounced && service_.soft_bounce_) dsn[0] = '4';
  log::delivered({.queue_id = request_.queue_id,
                  .recipient = shown,
                  .orig_to = equal_nocase(orig_to, shown) || !verdict.owner.empty()
                                 ? std::string_view{}
                                 : std::string_view(orig_to),
                  .relay = verdict.relay,
                  .conn_use = verdict.conn_use,
                  .delays = delays,
                  .dsn = dsn,
                  .status = request_.is_probe
                                ? (outcome == ipc::agent::Outcome::kDelivered ? "deliverable"
                                                                              : "undeliverable")
                            : outcome == ipc::agent::Outcome::kDelivered ? "sent"
                            : outcome == ipc::agent::Outcome::kDeferred  ? "deferred"
                            : service_.soft_bounce_                      ? "SOFTBOUNCE"
                                                                         : "bounced",
                  .text = text});
}

void Delivery::record(std::size_t recipient, ipc::agent::Outcome outcome, const Verdict& verdict,
                      ipc::agent::Share share) {
  if (reported_[recipient] || is_over_) return;
  reported_[recipient] = true;
  --unreported_;
  add_report(recipient, outcome, verdict, share);
}

void Delivery::record_part(std::size_t recipient, ipc::agent::Outcome outcome,
                           const Verdict& verdict, ipc::agent::Share share) {
  if (reported_[recipient] || is_over_) return;
  add_report(recipient, outcome, verdict, share);
}

void Delivery::add_report(std::size_t recipient, ipc::agent::Outcome outcome,
                          const Verdict& verdict, ipc::agent::Share share) {
  const bool is_soft = outcome == ipc::agent::Outcome::kBounced && service_.soft_bounce_;
  auto& entry = ready_.emplace_back();
  entry.state_offset = request_.recipients[recipient].state_offset;
  entry.outcome = is_soft ? ipc::agent::Outcome::kDeferred : outcome;
  entry.status = verdict.status;
  if (is_soft && entry.status.starts_with('5')) entry.status[0] = '4';
  entry.text = log::clean(verdict.text, kMaxLoggedText);
  entry.remote_mta = verdict.remote_mta;
  entry.diagnostic_type = verdict.diagnostic_type;
  entry.diagnostic = verdict.diagnostic;
  entry.address = verdict.address;
  entry.share = share;
  entry.owner = verdict.owner;
  // A delivery without an action was passed on to a server that reports itself (RFC 3461).
  entry.action = verdict.action;
  if (entry.outcome != ipc::agent::Outcome::kDelivered && (entry.action.empty() || is_soft)) {
    entry.action = action_of(entry.outcome);
  }
  loop::Loop::current().schedule(*this, loop::Loop::Order::kLog);
}

void Delivery::reroute(std::size_t recipient, std::string_view transport_and_nexthop,
                       std::string_view address) {
  if (reported_[recipient] || is_over_) return;
  reported_[recipient] = true;
  --unreported_;
  auto& entry = ready_.emplace_back();
  entry.state_offset = request_.recipients[recipient].state_offset;
  entry.outcome = ipc::agent::Outcome::kRerouted;
  entry.text = transport_and_nexthop;
  entry.address = address;
  loop::Loop::current().schedule(*this, loop::Loop::Order::kLog);
}

void Delivery::report_damage(std::string_view what) {
  if (is_over_) return;
  is_over_ = true;
  ipc::agent::Report report;
  report.delivery = request_.delivery;
  report.queue_id = request_.queue_id;
  report.is_damaged = true;
  report.damage = what;
  service_.send(shared_from_this(), std::move(report));
}

void Delivery::on_turn_end() {
  const bool is_last = unreported_ == 0 && in_filter_ == 0;
  if (is_over_ || (ready_.empty() && !is_last)) return;
  ipc::agent::Report report;
  report.delivery = request_.delivery;
  report.queue_id = request_.queue_id;
  report.recipients = std::exchange(ready_, {});
  report.is_last = is_last;
  report.is_destination_failure = report.is_last && is_destination_failure_;
  is_over_ = report.is_last;
  service_.send(shared_from_this(), std::move(report));
}

loop::Task<void> Delivery::finish() {
  if (is_over_) co_return;
  if (unreported_ > 0) {
    log::warning("{}: the delivery ended without a result for {} recipients", request_.queue_id,
                 unreported_);
    defer_rest({.status = "4.3.0", .text = "delivery agent gave no result"});
  }
  while (in_filter_ > 0) co_await filter_done_.wait(loop::kNever);
  // What is ready leaves now: nobody may hold the object at the end of the turn.
  if (!is_over_) on_turn_end();
}

}  // namespace postern::agent
