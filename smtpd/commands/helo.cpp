// helo.cpp - HELO and EHLO (RFC 5321 4.1.1.1): who the client says it is, and what we offer.

#include <fmt/format.h>

#include "smtpd/session.h"

namespace postern::smtpd {

mail::Reply Session::ehlo_reply() const {
  mail::Reply reply;
  reply.code = 250;
  reply.lines.push_back(settings_->address.myhostname);
  const auto offer = [&](std::string_view keyword, std::string text) {
    if (!settings_->discards(keyword)) reply.lines.push_back(std::move(text));
  };
  offer("pipelining", "PIPELINING");
  offer("size", settings_->message_size_limit > 0
                    ? fmt::format("SIZE {}", settings_->message_size_limit)
                    : "SIZE");
  if (!settings_->smtpd.disable_vrfy_command) offer("vrfy", "VRFY");
  offer("enhancedstatuscodes", "ENHANCEDSTATUSCODES");
  offer("8bitmime", "8BITMIME");
  offer("dsn", "DSN");
  if (settings_->smtputf8_enable) offer("smtputf8", "SMTPUTF8");
  offer("chunking", "CHUNKING");
  return reply;
}

loop::Task<mail::Reply> Session::helo_command(const smtpwire::CommandLine& command) {
  auto name = smtpwire::parse_helo(command.verb, command.argument);
  if (!name) co_return name.error();
  // A second HELO resets the transaction (RFC 5321 4.1.4).
  reset();
  helo_ = *std::move(name);
  const bool extended = command.verb == smtpwire::Verb::kEhlo;
  protocol_ = extended ? "ESMTP" : "SMTP";
  if (!settings_->smtpd.smtpd_delay_reject) {
    const auto refusal = co_await check(Stage::kHelo);
    if (refusal) {
      log_reject(*refusal, extended ? "EHLO" : "HELO");
      helo_.clear();
      co_return *refusal;
    }
  }
  if (extended) co_return ehlo_reply();
  mail::Reply reply;
  reply.lines.push_back(settings_->address.myhostname);
  co_return reply;
}

loop::Task<mail::Reply> Session::vrfy_command(const smtpwire::CommandLine& command) {
  if (settings_->smtpd.disable_vrfy_command) {
    co_return mail::make_reply(502, "5.5.1 VRFY command is disabled");
  }
  auto address = smtpwire::parse_vrfy(command.argument);
  if (!address) co_return address.error();
  sender_.reset();
  recipient_in_check_ = *std::move(address);
  const auto refusal = co_await check(Stage::kRecipient);
  if (refusal) {
    log_reject(*refusal, "VRFY", recipient_in_check_, true);
    co_return *refusal;
  }
  co_return mail::make_reply(252, {2, 0, 0}, mail::quote_address(recipient_in_check_));
}

mail::Reply Session::reset_command(const smtpwire::CommandLine& command) {
  const auto good = smtpwire::parse_no_argument(command.verb, command.argument);
  if (!good) return good.error();
  reset();
  return mail::make_reply(250, "2.0.0 Ok");
}

}  // namespace postern::smtpd
