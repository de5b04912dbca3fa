#include "smtpd/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"

namespace postern::smtpd {

using smtpwire::Verb;

namespace {

// Commands that the grammar knows for others' sake are unknown to clients, and counted so.
bool is_served(Verb verb) {
  return verb != Verb::kLhlo && verb != Verb::kExpn && verb != Verb::kHelp;
}

}  // namespace

Session::Session(Server& server, SettingsPtr settings, sys::Accepted client, std::int64_t number)
    : server_(server),
      settings_(std::move(settings)),
      stream_(std::move(client.fd), loop::Copies::kNone),
      peer_(client.peer),
      number_(number),
      splitter_(settings_->line_length_limit),
      client_address_(peer_.host()),
      ip_(config::parse_ip_address(client_address_)),
      discarded_keywords_(settings_->discarded_keywords) {}

Session::~Session() = default;

std::string Session::client() const {
  if (settings_->smtpd.smtpd_client_port_logging) {
    return fmt::format("{}[{}]:{}", client_name_, client_address_, client_port());
  }
  return fmt::format("{}[{}]", client_name_, client_address_);
}

loop::Deadline Session::deadline() const {
  return loop::Clock::now() + settings_->smtpd.smtpd_timeout;
}

SessionExtras& Session::extras() {
  if (extras_ == nullptr) extras_ = std::make_unique<SessionExtras>();
  return *extras_;
}

std::string Session::client_port() const {
  return extras_ && !extras_->port.empty() ? extras_->port : std::to_string(peer_.port());
}

const std::string& Session::sasl_username() const {
  static const std::string kNobody;
  return extras_ ? extras_->login : kNobody;
}

const std::string& Session::sasl_method() const {
  static const std::string kNone;
  return extras_ ? extras_->login_method : kNone;
}

const std::string& Session::sasl_sender() const {
  static const std::string kNone;
  return extras_ ? extras_->login_sender : kNone;
}

loop::Task<void> Session::run() {
  server_.neighbours().cleanup.connect();
  const bool is_client_known = co_await learn_from_proxy();
  if (is_client_known) co_await look_up_client();
  co_await look_up_client_lists();
  is_dialogue_logged_ = log::verbosity() > 0;
  if (!is_dialogue_logged_ && !settings_->debug_peers.is_empty()) {
    is_dialogue_logged_ = co_await settings_->debug_peers.includes(neighbours().tables,
                                                                   client_name_, client_address_);
  }
  log::info("connect from {}", client());
  if (!is_client_known) {
    end_ = End::kDropped;
    co_await refuse(mail::make_reply(
        421, fmt::format("4.3.0 {} Server local error", settings_->address.myhostname)));
  } else if (const bool is_ready = co_await wrap(); !is_ready) {
    closing_ = true;
  } else if (const auto refusal = co_await admit()) {
    end_ = End::kDropped;
    co_await refuse(*refusal);
  } else if (const auto excess = co_await count_wrapped()) {
    end_ = End::kDropped;
    co_await refuse(*excess);
  } else {
    const mail::Reply hello = co_await greeting();
    if (hello.closes() || hello.code == 521) {
      end_ = End::kDropped;
      co_await refuse(hello);
    } else if (!co_await send(hello) || !co_await flush()) {
      closing_ = true;
    }
  }
  while (!closing_) co_await converse();
  if (limits_ != nullptr) server_.limits().disconnected(*std::exchange(limits_, nullptr));
  log_end();
}

loop::Task<void> Session::converse() {
  if (errors_ >= settings_->smtpd.smtpd_hard_error_limit) {
    log::info("too many errors after {} from {}", where_, client());
    end_ = End::kDropped;
    co_await refuse(mail::make_reply(
        421, fmt::format("4.7.0 {} Error: too many errors", settings_->address.myhostname)));
    co_return;
  }
  const auto line = co_await read_command();
  if (!line) {
    closing_ = true;
    co_return;
  }
  if (draining_ && !transaction_) {
    co_await refuse(mail::make_reply(
        421, fmt::format("4.3.2 {} Service is shutting down", settings_->address.myhostname)));
    co_return;
  }
  co_await handle(*line);
}

loop::Task<void> Session::handle(std::string_view line) {
  const auto& params = settings_->smtpd;
  std::optional<std::string> replaced;
  if (!params.smtpd_command_filter.empty()) {
    replaced = co_await filter_command(std::string(line));
    if (!replaced) co_return;
    line = *replaced;
  }
  is_junk_ = false;
  is_trouble_noted_ = false;
  is_undeliverable_ = false;
  if (settings_->smtputf8_enable && !is_valid_utf8(line)) {
    co_await answer(mail::make_reply(500, "5.5.2 Error: bad UTF-8 syntax"), std::nullopt);
    co_return;
  }
  smtpwire::CommandLine command = smtpwire::split_command(line);
  if (command.name.empty()) {
    co_await answer(smtpwire::reply_bad_syntax(), std::nullopt);
    co_return;
  }
  if (!is_served(command.verb)) command.verb = Verb::kUnknown;
  const std::string name = to_upper(command.name);
  if (std::ranges::find(settings_->noop_commands, name) != settings_->noop_commands.end()) {
    is_junk_ = true;
    co_await answer(mail::make_reply(250, "2.0.0 Ok"), std::nullopt);
    co_return;
  }
  where_ =
      command.verb == Verb::kUnknown ? "UNKNOWN" : std::string(smtpwire::verb_name(command.verb));
  Count& count = counts_[static_cast<std::size_t>(command.verb)];
  ++count.total;

  if (is_client_refused_ && command.verb != Verb::kQuit) {
    ++count.failed;
    ++errors_;
    if (!co_await send(
            mail::make_reply(503, fmt::format("5.7.0 Error: access denied for {}", client())))) {
      closing_ = true;
    }
    co_return;
  }
  note_early_input(command.verb);
  if (has_early_input_ && params.smtpd_forbid_unauth_pipelining) {
    end_ = End::kDropped;
    ++count.failed;
    co_await refuse(mail::make_reply(554, "5.5.0 Error: SMTP protocol synchronization"));
    co_return;
  }
  if (command.verb == Verb::kUnknown && co_await is_forbidden(line, name)) {
    ++count.failed;
    log::warning("non-SMTP command from {}: {}", client(), log::clean(line, 100));
    end_ = End::kDropped;
    co_await refuse(mail::make_reply(221, "2.7.0 Error: this is a mail server. Goodbye."));
    co_return;
  }

  if (is_tls_due(command.verb)) {
    ++count.failed;
    ++errors_;
    if (!co_await send(mail::make_reply(530, "5.7.0 Must issue a STARTTLS command first"))) {
      closing_ = true;
    }
    co_return;
  }

  const auto reply = co_await execute(command);
  // The client has its answer, or went away in the middle.
  if (!reply || closing_) co_return;
  co_await answer(*reply, command.verb);
}

// The reply, or nothing when the client has its answer already.
loop::Task<std::optional<mail::Reply>> Session::execute(const smtpwire::CommandLine& command) {
  switch (command.verb) {
    case Verb::kHelo:
    case Verb::kEhlo:
      is_junk_ = true;
      co_return co_await helo_command(command);
    case Verb::kMail:
      co_return co_await mail_command(command);
    case Verb::kRcpt:
      co_return co_await rcpt_command(command);
    case Verb::kData:
      co_return co_await data_command(command);
    case Verb::kBdat:
      co_return co_await bdat_command(command);
    case Verb::kRset:
      is_junk_ = true;
      co_return reset_command(command);
    case Verb::kNoop:
      is_junk_ = true;
      co_return mail::make_reply(250, "2.0.0 Ok");
    case Verb::kVrfy:
      is_junk_ = true;
      co_return co_await vrfy_command(command);
    case Verb::kQuit:
      end_ = End::kQuit;
      co_await refuse(mail::make_reply(221, "2.0.0 Bye"));
      co_return std::nullopt;
    case Verb::kAuth:
      co_return co_await auth_command(command);
    case Verb::kStarttls:
      co_return co_await starttls_command(command);
    case Verb::kXclient:
      co_return co_await xclient_command(command);
    case Verb::kXforward:
      co_return co_await xforward_command(command);
    case Verb::kEtrn:
      is_junk_ = true;
      co_return co_await etrn_command(command);
    case Verb::kLhlo:
    case Verb::kExpn:
    case Verb::kHelp:
    case Verb::kUnknown:
      break;
  }
  if (milters_ != nullptr) {
    auto refusal =
        co_await ask_milters(milter::kUnknownCommand, std::string(command.name) + '\0', "UNKNOWN");
    if (refusal) co_return refusal;
  }
  co_return smtpwire::reply_unknown_command();
}

loop::Task<void> Session::answer(const mail::Reply& reply, std::optional<Verb> verb) {
  const auto& params = settings_->smtpd;
  if (reply.code >= 400) {
    const bool is_excused = std::exchange(is_error_excused_, false);
    if (!is_excused) {
      ++errors_;
      if (verb) ++counts_[static_cast<std::size_t>(*verb)].failed;
    }
    if (!is_trouble_noted_) troubles_ |= trouble_of(reply);
  }
  // Postfix counts none as done that made another client of this one.
  if (verb == Verb::kXclient && reply.code < 400) {
    ++counts_[static_cast<std::size_t>(*verb)].failed;
  }
  if (is_junk_ && junk_commands_++ > params.smtpd_junk_command_limit) ++errors_;
  // Whoever has made many errors waits for every answer.
  if (errors_ >= params.smtpd_soft_error_limit && params.smtpd_error_sleep_time.count() > 0) {
    co_await loop::sleep_for(params.smtpd_error_sleep_time);
  }
  if (reply.closes() || reply.code == 521) {
    end_ = End::kDropped;
    co_await refuse(reply);
    co_return;
  }
  if (!co_await send(reply)) closing_ = true;
  if (transcript_ && !sender_) {
    finish_transcript(static_cast<std::size_t>(params.smtpd_history_flush_threshold), {});
  }
}

void Session::drain() {
  draining_ = true;
  if (waiting_for_command_ && !transaction_) stream_.cancel_waits();
}

Session::Use Session::use() const {
  if (!waiting_for_command_ || makes_room_ || draining_ || is_authenticated() ||
      is_in_mynetworks()) {
    return Use::kNeeded;
  }
  return transaction_ ? Use::kInTransaction : Use::kIdle;
}

void Session::make_room() {
  makes_room_ = true;
  const auto waited = loop::Clock::now() - waiting_since_;
  log::info("all places are taken: {} makes room for others, idle for {:.1f} s", client(),
            std::chrono::duration<double>(waited).count());
  stream_.cancel_waits();
}

void Session::forgive_errors() {
  errors_ = 0;
  junk_commands_ = 0;
  troubles_ = 0;
}

void Session::reset() {
  sender_.reset();
  mail_arguments_.reset();
  transaction_.reset();
  chunks_.reset();
  has_chunks_ = false;
  chunk_failed_ = false;
  bdat_too_big_ = false;
  refused_recipients_ = 0;
  if (restriction_state_) restriction_state_->end_of_message();
  if (milters_) milters_->end_message();
  proxy_.reset();
  proxied_size_ = 0;
  proxy_content_failed_ = false;
  proxy_refusal_.reset();
  if (extras_) extras_->login_sender.clear();
  if (extras_ && extras_->has_forward) {
    extras_->has_forward = false;
    extras_->forward = {};
    extras_->forward_id.clear();
    extras_->forward_domain.clear();
  }
}

}  // namespace postern::smtpd
