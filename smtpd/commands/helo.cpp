// helo.cpp - HELO and EHLO (RFC 5321 4.1.1.1): who the client says it is, and what we offer.

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

}  // namespace

// smtpd_discard_ehlo_keyword_address_maps goes before smtpd_discard_ehlo_keywords.
loop::Task<std::optional<mail::Reply>> Session::choose_keywords() {
  discarded_keywords_ = settings_->discarded_keywords;
  const auto& maps = settings_->smtpd.smtpd_discard_ehlo_keyword_address_maps;
  if (!maps.empty()) {
    ipc::tables::Lookup question;
    question.tables = maps;
    question.keys.push_back({client_address_, false});
    const auto found =
        co_await neighbours().tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("smtpd_discard_ehlo_keyword_address_maps: {}", found.error().text);
      co_return mail::make_reply(451, "4.3.0 Temporary lookup failure");
    }
    if (found->is_found) {
      std::vector<std::string> unknown;
      discarded_keywords_ = parse_ehlo_keywords(config::split_list(found->value), &unknown);
      for (const auto& word : unknown) {
        log::warning("smtpd_discard_ehlo_keyword_address_maps: unknown EHLO keyword: {}",
                     log::clean(word));
      }
    }
  }
  const EhloKeywords shown = discarded_keywords_ & ~EhloKeywords{kEhloSilentDiscard};
  if (shown != 0 && !discards(kEhloSilentDiscard)) {
    log::info("discarding EHLO keywords: {}", print_ehlo_keywords(shown));
  }
  co_return std::nullopt;
}

loop::Task<mail::Reply> Session::ehlo_reply() {
  mail::Reply reply;
  reply.code = 250;
  reply.lines.push_back(settings_->address.myhostname);
  const auto offer = [&](EhloKeywords keyword, std::string text) {
    if (!discards(keyword)) reply.lines.push_back(std::move(text));
  };
  const auto& params = settings_->smtpd;
  offer(kEhloPipelining, "PIPELINING");
  offer(kEhloSize, settings_->message_size_limit > 0
                       ? fmt::format("SIZE {}", settings_->message_size_limit)
                       : "SIZE");
  if (!params.disable_vrfy_command) offer(kEhloVrfy, "VRFY");
  offer(kEhloEtrn, "ETRN");
  if (offers_tls()) offer(kEhloStarttls, "STARTTLS");
  co_await offer_login(reply);
  may_xverp_ = !discards(kEhloXverp) && co_await is_client_in(params.smtpd_authorized_verp_clients);
  if (may_xverp_) offer(kEhloXverp, "XVERP");
  if (co_await is_client_in(params.smtpd_authorized_xclient_hosts)) {
    offer(kEhloXclient, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT");
  }
  if (co_await is_client_in(params.smtpd_authorized_xforward_hosts)) {
    offer(kEhloXforward, "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT");
  }
  offer(kEhloEnhancedStatusCodes, "ENHANCEDSTATUSCODES");
  offer(kEhlo8BitMime, "8BITMIME");
  offer(kEhloDsn, "DSN");
  if (settings_->smtputf8_enable) offer(kEhloSmtputf8, "SMTPUTF8");
  if (offers_require_tls()) offer(kEhloRequireTls, "REQUIRETLS");
  // The filter speaks DATA.
  if (!has_proxy_filter()) offer(kEhloChunking, "CHUNKING");
  co_return reply;
}

loop::Task<mail::Reply> Session::helo_command(const smtpwire::CommandLine& command) {
  auto name = smtpwire::parse_helo(command.verb, command.argument);
  if (!name) co_return name.error();
  // A second HELO resets the transaction (RFC 5321 4.1.4).
  reset();
  helo_ = *std::move(name);
  const bool extended = command.verb == smtpwire::Verb::kEhlo;
  if (!settings_->smtpd.smtpd_delay_reject) {
    const auto refusal = co_await check(Stage::kHelo);
    if (refusal) {
      log_reject(*refusal, extended ? "EHLO" : "HELO");
      helo_.clear();
      co_return *refusal;
    }
  }
  // What a milter says to that is for what follows; the log has it.
  const auto refusal = co_await milter_helo(extended ? "EHLO" : "HELO");
  if (refusal && refusal->closes()) co_return *refusal;
  // A HELO takes nothing back of what an EHLO before it has promised.
  if (extended) protocol_ = "ESMTP";
  if (extended) {
    co_await server_.tls().settle();
    if (auto fault = co_await choose_keywords()) co_return *fault;
    co_return co_await ehlo_reply();
  }
  mail::Reply reply;
  reply.lines.push_back(settings_->address.myhostname);
  co_return reply;
}

loop::Task<mail::Reply> Session::vrfy_command(const smtpwire::CommandLine& command) {
  if (settings_->smtpd.disable_vrfy_command) {
    co_return mail::make_reply(502, "5.5.1 VRFY command is disabled");
  }
  const bool takes_utf8 = settings_->smtputf8_enable && !discards(kEhloSmtputf8);
  if (command.argument.empty()) {
    co_return mail::make_reply(
        501, fmt::format("5.5.4 Syntax: VRFY address{}", takes_utf8 ? " [SMTPUTF8]" : ""));
  }
  std::string_view argument = command.argument;
  const auto end = argument.find_last_of(kBlanks);
  const bool is_utf8 = takes_utf8 && end != std::string_view::npos &&
                       equal_nocase(argument.substr(end + 1), "SMTPUTF8");
  if (is_utf8) argument = trim(argument.substr(0, end));
  const std::string shown(argument);
  auto address = smtpwire::parse_vrfy(argument);
  if (!address) {
    warn_of_address(argument, address.error());
    co_return address.error();
  }
  if (auto refusal = undeclared_utf8(*address, is_utf8)) co_return *refusal;
  recipient_in_check_ = *std::move(address);
  const auto refusal = co_await check(Stage::kRecipient);
  if (refusal) {
    log_reject(*refusal, "VRFY", recipient_in_check_, true);
    co_return *refusal;
  }
  co_return mail::make_reply(252, {2, 0, 0}, shown);
}

mail::Reply Session::reset_command(const smtpwire::CommandLine& command) {
  const auto good = smtpwire::parse_no_argument(command.verb, command.argument);
  if (!good) return good.error();
  reset();
  return mail::make_reply(250, "2.0.0 Ok");
}

}  // namespace postern::smtpd
