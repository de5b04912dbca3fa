// rcpt.cpp - RCPT (RFC 5321 4.1.1.3): each recipient is judged by all lists, in their order.

#include <chrono>

#include "common/log/event.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

std::int64_t wall_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void Session::begin_transaction() {
  const auto now = wall_us();
  Transaction& transaction = transaction_.emplace(*sender_);
  auto& envelope = transaction.envelope();
  envelope.arrival = {now / 1'000'000, static_cast<std::int32_t>(now % 1'000'000)};
  envelope.client.name = client_name_;
  envelope.client.address = client_address_;
  envelope.client.port = std::to_string(peer_.port());
  envelope.client.reverse_name = reverse_name_;
  envelope.client.helo = helo_;
  const bool is_utf8 = mail_arguments_->smtputf8;
  envelope.client.protocol = is_utf8 ? "UTF8SMTP" : protocol_;
  envelope.rewrite_context = is_local_client() ? "local" : "remote";
  if (mail_arguments_->body == smtpwire::BodyType::k8BitMime) {
    envelope.encoding = queuefile::ContentEncoding::k8bit;
  } else if (mail_arguments_->body == smtpwire::BodyType::k7Bit) {
    envelope.encoding = queuefile::ContentEncoding::k7bit;
  }
  if (is_utf8) envelope.smtputf8 = queuefile::kUtf8Requested;
  envelope.dsn_envid = mail_arguments_->envid;
  if (mail_arguments_->ret == smtpwire::DsnReturn::kFull) {
    envelope.dsn_ret = queuefile::DsnReturn::kFull;
  } else if (mail_arguments_->ret == smtpwire::DsnReturn::kHeaders) {
    envelope.dsn_ret = queuefile::DsnReturn::kHeaders;
  }
  transaction.set_queue_id(neighbours().ids.next(now, settings_->enable_long_queue_ids
                                                          ? queuefile::IdForm::kLong
                                                          : queuefile::IdForm::kShort));
  log::ClientLine line;
  line.queue_id = transaction.queue_id();
  const std::string from = client();
  line.client = from;
  log::accepted_from(line);
}

loop::Task<mail::Reply> Session::rcpt_command(const smtpwire::CommandLine& command) {
  if (!sender_) co_return mail::make_reply(503, "5.5.1 Error: need MAIL command");
  if (in_bdat()) co_return mail::make_reply(503, "5.5.1 Error: RCPT after BDAT");
  auto parsed = smtpwire::parse_rcpt(command.argument, extensions());
  if (!parsed) co_return parsed.error();
  const auto accepted = transaction_ ? transaction_->recipients() : 0;
  if (accepted >= static_cast<std::size_t>(settings_->smtpd.smtpd_recipient_limit)) {
    // What a client sends on top of the limit is answered for a while, not for ever.
    if (++refused_recipients_ > settings_->smtpd.smtpd_recipient_overshoot_limit) ++errors_;
    co_return mail::make_reply(452, "4.5.3 Error: too many recipients");
  }
  recipient_in_check_ = parsed->recipient.address;
  const auto refusal = co_await check(Stage::kRecipient);
  if (refusal) {
    log_reject(*refusal, "RCPT", recipient_in_check_, true);
    co_return *refusal;
  }
  if (!transaction_) begin_transaction();
  queuefile::Recipient recipient;
  recipient.address = parsed->recipient.address;
  recipient.orig_to = parsed->recipient.address;
  recipient.dsn_orcpt = parsed->orcpt_type.empty()
                            ? "rfc822;" + parsed->recipient.original
                            : parsed->orcpt_type + ";" + parsed->orcpt_address;
  recipient.notify = parsed->notify;
  transaction_->add(std::move(recipient));
  co_return mail::make_reply(250, "2.1.5 Ok");
}

}  // namespace postern::smtpd
