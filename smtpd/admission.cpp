// admission.cpp - who the client is, whether it is let in, and how much it may ask for.

#include <fmt/format.h>

#include "common/ipc/resolver.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kResolverTime{30};

}  // namespace

// Whoever speaks for others (XCLIENT) has no limits of his own, nor have those that
// smtpd_client_event_limit_exceptions names.
loop::Task<std::optional<mail::Reply>> Session::admit() {
  const auto& params = settings_->smtpd;
  if (!ip_ || co_await is_client_in(params.smtpd_client_event_limit_exceptions) ||
      co_await is_client_in(params.smtpd_authorized_xclient_hosts)) {
    co_return std::nullopt;
  }
  limits_ = &server_.limits().entry_of(*ip_, *settings_);
  const auto verdict = co_await server_.limits().connected(*limits_, *settings_);
  if (server_.limits().is_banned(*limits_)) {
    // In words that fail2ban's stock filter knows.
    auto reply = mail::make_reply(
        450, fmt::format("4.7.1 <{}>: Client host rejected: too many failures; try again later",
                         client()));
    log_reject(reply, "CONNECT");
    co_return reply;
  }
  if (!verdict.too_many && !verdict.too_fast) co_return std::nullopt;
  if (verdict.too_many) {
    log::warning("Connection concurrency limit exceeded: {} from {} for service {}",
                 verdict.connections, client(), server_.limits().service());
  } else {
    log::warning("Connection rate limit exceeded: {} from {} for service {}", verdict.rate,
                 client(), server_.limits().service());
  }
  co_return mail::make_reply(421, fmt::format("4.7.0 {} Error: too many connections from {}",
                                              settings_->address.myhostname, client_address_));
}

void Session::note_offence(ipc::anvil::OffenceKind kind) {
  // What a ban refuses does not prolong it.
  if (limits_ == nullptr || server_.limits().is_banned(*limits_)) return;
  const auto& params = settings_->smtpd;
  const auto limit = kind == ipc::anvil::OffenceKind::kAuthFailure
                         ? params.smtpd_client_ban_auth_failures
                         : params.smtpd_client_ban_rejects;
  if (limit > 0) server_.limits().report(*limits_, kind);
}

loop::Task<std::optional<mail::Reply>> Session::count(ipc::anvil::Event event) {
  using ipc::anvil::Event;
  if (limits_ == nullptr) co_return std::nullopt;
  const auto& params = settings_->smtpd;
  std::int64_t limit = 0;
  std::string_view what;     // for the client
  std::string_view request;  // for the log
  switch (event) {
    case Event::kConnection:
      co_return std::nullopt;
    case Event::kMessage:
      limit = params.smtpd_client_message_rate_limit;
      what = "much mail";
      request = "Message delivery request";
      break;
    case Event::kRecipient:
      limit = params.smtpd_client_recipient_rate_limit;
      what = "many recipients";
      request = "Recipient address";
      break;
    case Event::kNewTls:
      limit = params.smtpd_client_new_tls_session_rate_limit;
      what = "many new TLS sessions";
      request = "New TLS session";
      break;
    case Event::kAuth:
      limit = params.smtpd_client_auth_rate_limit;
      what = "many AUTH commands";
      request = "AUTH command";
      break;
  }
  const auto rate = co_await server_.limits().count(*limits_, event, limit);
  if (rate == 0) co_return std::nullopt;
  log::warning("{} rate limit exceeded: {} from {} for service {}", request, rate, client(),
               server_.limits().service());
  if (event == Event::kNewTls) {
    co_return mail::make_reply(454,
                               fmt::format("4.7.0 Error: too {} from {}", what, client_address_));
  }
  co_return mail::make_reply(450,
                             fmt::format("4.7.1 Error: too {} from {}", what, client_address_));
}

loop::Task<void> Session::look_up_client() {
  if (!settings_->smtpd.smtpd_peername_lookup || client_address_ == "local") co_return;
  ipc::resolver::FindPeer question;
  question.address = client_address_;
  const auto peer =
      co_await neighbours().resolver.call(question, loop::Clock::now() + kResolverTime);
  if (!peer) co_return;
  client_name_ = peer->name;
  reverse_name_ = peer->reverse_name;
  name_status_ = peer->name_status;
  reverse_status_ = peer->reverse_status;
  if (!peer->warning.empty()) log::warning("{}", log::clean(peer->warning));
}

// What a milter has against the client is told at MAIL, and before that in the words of RFC
// 5321 3.1 where it is for good.
std::optional<mail::Reply> Session::greeting_of_refused(const mail::Reply& refusal) const {
  const std::string& name = settings_->address.myhostname;
  if (refusal.closes()) {
    return mail::make_reply(421, name + " Service unavailable - try again later");
  }
  if (refusal.code < 500) return std::nullopt;
  return mail::make_reply(554, name + " ESMTP not accepting connections");
}

loop::Task<mail::Reply> Session::greeting() {
  std::optional<mail::Reply> refusal;
  if (!settings_->smtpd.smtpd_delay_reject) refusal = co_await check(Stage::kClient);
  if (refusal) {
    log_reject(*refusal, "CONNECT");
  }
  mail::Reply hello;
  hello.code = 220;
  hello.lines = {settings_->smtpd.smtpd_banner};
  // The session stays, and everything but QUIT is refused (RFC 5321 3.1).
  is_client_refused_ = refusal.has_value();
  if (!refusal) {
    co_await start_milters();
    refusal = co_await milter_connect();
    if (refusal) refusal = greeting_of_refused(*refusal);
  }
  if (refusal) hello = *refusal;
  co_return hello;
}

}  // namespace postern::smtpd
