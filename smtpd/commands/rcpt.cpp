// rcpt.cpp - RCPT (RFC 5321 4.1.1.3): each recipient is judged by all lists, in their order.

#include <chrono>

#include "common/base/text.h"
#include "common/ipc/mailauth.h"
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

void Session::begin_transaction(bool is_local) {
  const auto now = wall_us();
  transaction_ = std::make_unique<Transaction>(*sender_);
  Transaction& transaction = *transaction_;
  auto& envelope = transaction.envelope();
  envelope.arrival = {now / 1'000'000, static_cast<std::int32_t>(now % 1'000'000)};
  envelope.content_filter = settings_->content_filter;
  transaction.override_with(settings_->cleanup_overrides);
  const bool is_utf8 = mail_arguments_->smtputf8;
  queuefile::Client peer;
  peer.name = client_name_;
  peer.address = client_address_;
  peer.port = client_port();
  peer.reverse_name = reverse_name_;
  peer.helo = helo_;
  peer.protocol = is_utf8 ? "UTF8SMTP" : protocol_;
  envelope.rewrite_context = is_local ? "local" : "remote";
  if (extras_ && extras_->has_forward) {
    // The trace field speaks of who is connected; logs and further hops of whom he forwards for.
    envelope.client = extras_->forward;
    envelope.attributes.emplace_back("client_name", peer.name);
    envelope.attributes.emplace_back("client_address", peer.address);
    envelope.attributes.emplace_back("client_port", peer.port);
    envelope.attributes.emplace_back("helo_name", peer.helo);
    envelope.attributes.emplace_back("protocol_name", peer.protocol);
    if (!extras_->forward_id.empty()) {
      envelope.attributes.emplace_back("log_ident", extras_->forward_id);
    }
    if (!extras_->forward_domain.empty()) envelope.rewrite_context = extras_->forward_domain;
  } else {
    envelope.client = std::move(peer);
  }
  if (settings_->smtpd.smtpd_hide_client_session) {
    envelope.attributes.emplace_back("hide_client_session", "yes");
  }
  if (is_authenticated()) {
    envelope.sasl_method = sasl_method();
    envelope.sasl_username = sasl_username();
    if (settings_->login.has_trace) {
      envelope.attributes.emplace_back("received_sasl_username", sasl_username());
    }
  }
  envelope.sasl_sender = sasl_sender();
  if (is_encrypted()) {
    envelope.attributes.emplace_back("received_secret", "yes");
    if (settings_->tls.has_trace) {
      envelope.attributes.emplace_back("received_tls", join(tls_trace(), "\n"));
      envelope.attributes.emplace_back("received_tls_peer", tls_peer_trace());
    }
  }
  if (const auto wanted = wanted_authentication(); wanted != 0) {
    envelope.attributes.emplace_back(ipc::mailauth::kAttribute, std::to_string(wanted));
  }
  envelope.verp_delims = mail_arguments_->verp_delimiters;
  if (mail_arguments_->body == smtpwire::BodyType::k8BitMime) {
    envelope.encoding = queuefile::ContentEncoding::k8bit;
  } else if (mail_arguments_->body == smtpwire::BodyType::k7Bit) {
    envelope.encoding = queuefile::ContentEncoding::k7bit;
  }
  if (mail_arguments_->requires_tls) {
    envelope.attributes.emplace_back(queuefile::kRequireTls, "1");
    // RFC 8689 5: what must not be read by others does not come back in the clear.
    if (settings_->tls.redacts_notices) mail_arguments_->ret = smtpwire::DsnReturn::kHeaders;
  }
  if (is_utf8) envelope.smtputf8 = queuefile::kUtf8Requested;
  envelope.dsn_envid = mail_arguments_->envid;
  if (mail_arguments_->ret == smtpwire::DsnReturn::kFull) {
    envelope.dsn_ret = queuefile::DsnReturn::kFull;
  } else if (mail_arguments_->ret == smtpwire::DsnReturn::kHeaders) {
    envelope.dsn_ret = queuefile::DsnReturn::kHeaders;
  }
  // Behind a proxy filter the mail gets its queue id.
  if (!has_proxy_filter())
    transaction.set_queue_id(neighbours().ids.next(now, settings_->enable_long_queue_ids
                                                            ? queuefile::IdForm::kLong
                                                            : queuefile::IdForm::kShort));
  log::ClientLine line;
  line.queue_id = has_proxy_filter() ? "NOQUEUE" : std::string_view(transaction.queue_id());
  const std::string from = client();
  line.client = from;
  line.sasl_method = envelope.sasl_method;
  line.sasl_username = envelope.sasl_username;
  line.sasl_sender = envelope.sasl_sender;
  std::string forwarded_for;
  if (extras_ && extras_->has_forward) {
    line.orig_queue_id = extras_->forward_id;
    const auto& forward = extras_->forward;
    const auto or_unknown = [](const std::string& text) -> std::string_view {
      return text.empty() ? "unknown" : std::string_view(text);
    };
    forwarded_for = or_unknown(forward.name);
    const auto address = or_unknown(forward.address);
    if (address != "unknown") forwarded_for += fmt::format("[{}]", address);
    if (settings_->smtpd.smtpd_client_port_logging) {
      forwarded_for += fmt::format(":{}", or_unknown(forward.port));
    }
    line.orig_client = forwarded_for;
  }
  log::accepted_from(line);
}

loop::Task<mail::Reply> Session::rcpt_command(const smtpwire::CommandLine& command) {
  if (in_bdat()) co_return mail::make_reply(503, "5.5.1 Error: RCPT after BDAT");
  if (!sender_) co_return mail::make_reply(503, "5.5.1 Error: need MAIL command");
  auto parsed = smtpwire::parse_rcpt(command.argument, extensions());
  if (!parsed) {
    warn_of_address(command.argument, parsed.error());
    co_return parsed.error();
  }
  if (auto refusal = undeclared_utf8(parsed->recipient.address, mail_arguments_->smtputf8)) {
    co_return *refusal;
  }
  if (auto refusal = co_await count(ipc::anvil::Event::kRecipient)) co_return *refusal;
  const auto accepted = transaction_ ? transaction_->recipients() : 0;
  if (accepted >= static_cast<std::size_t>(settings_->smtpd.smtpd_recipient_limit)) {
    // What a client sends on top of the limit is answered for a while, not for ever.
    is_error_excused_ = ++refused_recipients_ <= settings_->smtpd.smtpd_recipient_overshoot_limit;
    co_return mail::make_reply(452, "4.5.3 Error: too many recipients");
  }
  recipient_in_check_ = parsed->recipient.address;
  const auto refusal = co_await check(Stage::kRecipient);
  if (refusal && *refusal == smtpwire::reply_bad_recipient()) {
    warn_of_address(command.argument, *refusal);
    co_return *refusal;
  }
  if (refusal) {
    log_reject(*refusal, "RCPT", recipient_in_check_, true);
    co_await milter_rejected_rcpt(std::string(command.argument), *refusal);
    co_return *refusal;
  }
  if (may_have_quota()) {
    if (auto over_quota = co_await check_sender_quota()) {
      log_reject(*over_quota, "RCPT", recipient_in_check_, true);
      co_await milter_rejected_rcpt(std::string(command.argument), *over_quota);
      co_return *over_quota;
    }
  }
  if (auto by_milter = co_await milter_rcpt(std::string(command.argument), recipient_in_check_)) {
    co_return *by_milter;
  }
  if (!transaction_) {
    const bool is_local = co_await is_local_client();
    begin_transaction(is_local);
  }
  if (has_proxy_filter() && !settings_->proxy_filter.is_late) {
    if (auto by_proxy = co_await proxy_recipient(recipient_in_check_)) {
      if (transaction_->recipients() == 0) transaction_.reset();
      co_return *by_proxy;
    }
  }
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
