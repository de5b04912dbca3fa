#include "smtpd/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/ipc/resolver.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "common/smtpwire/chunk.h"
#include "smtpd/escape.h"

namespace postern::smtpd {

namespace {

using smtpwire::Verb;

// In the order of the disconnect line.
constexpr std::array kVerbsInOrder = {
    Verb::kHelo, Verb::kEhlo, Verb::kXclient, Verb::kXforward, Verb::kStarttls, Verb::kAuth,
    Verb::kMail, Verb::kRcpt, Verb::kData,    Verb::kBdat,     Verb::kRset,     Verb::kNoop,
    Verb::kVrfy, Verb::kEtrn, Verb::kQuit,    Verb::kHelp,     Verb::kExpn,     Verb::kUnknown};

constexpr std::chrono::seconds kResolverTime{30};
constexpr std::chrono::seconds kTablesTime{100};

// Commands that end a group (RFC 2920 3.1): their answers decide what comes next.
bool ends_group(Verb verb) {
  switch (verb) {
    case Verb::kHelo:
    case Verb::kEhlo:
    case Verb::kData:
    case Verb::kStarttls:
    case Verb::kAuth:
    case Verb::kVrfy:
    case Verb::kEtrn:
    case Verb::kNoop:
    case Verb::kQuit:
    case Verb::kXclient:
      return true;
    default:
      return false;
  }
}

std::string count_text(std::string_view name, unsigned total, unsigned failed) {
  return failed == 0 ? fmt::format(" {}={}", name, total)
                     : fmt::format(" {}={}/{}", name, total - failed, total);
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

Session::ReadDeadline::ReadDeadline(const Settings& settings)
    : settings_(settings), until_(loop::Clock::now() + settings.smtpd.smtpd_timeout) {}

loop::Deadline Session::ReadDeadline::next() const {
  if (settings_.smtpd.smtpd_per_request_deadline) return until_;
  return loop::Clock::now() + settings_.smtpd.smtpd_timeout;
}

void Session::ReadDeadline::received(std::size_t bytes) {
  if (!settings_.smtpd.smtpd_per_request_deadline || settings_.smtpd.smtpd_min_data_rate <= 0) {
    return;
  }
  const auto earned = std::chrono::microseconds(static_cast<std::int64_t>(bytes) * 1'000'000 /
                                                settings_.smtpd.smtpd_min_data_rate);
  until_ =
      std::min<loop::Deadline>(until_ + earned, loop::Clock::now() + settings_.smtpd.smtpd_timeout);
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
    if (!co_await send(hello) || !co_await flush()) closing_ = true;
  }
  while (!closing_) co_await converse();
  if (limits_ != nullptr) server_.limits().disconnected(*std::exchange(limits_, nullptr));
  log_end();
}

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
  if (refusal) {
    hello = *refusal;
    if (hello.closes() || hello.code == 521) closing_ = true;
  }
  co_return hello;
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

loop::Task<std::optional<std::string>> Session::read_command(bool* is_too_long) {
  const ReadDeadline until(*settings_);
  // A command that trickles in is still owed.
  waiting_since_ = loop::Clock::now();
  for (;;) {
    const smtpwire::Line line = splitter_.next(stream_.input());
    if (line.state == smtpwire::Line::State::kMore) {
      stream_.consume(line.consumed);
      // Nothing more to answer at once: now the replies leave.
      if (!co_await flush()) co_return std::nullopt;
      waiting_for_command_ = true;
      const loop::Io io = co_await stream_.fill(until.next());
      waiting_for_command_ = false;
      if (io == loop::Io::kCancelled && draining_) {
        co_await refuse(mail::make_reply(
            421, fmt::format("4.3.2 {} Service is shutting down", settings_->address.myhostname)));
        co_return std::nullopt;
      }
      if (io == loop::Io::kCancelled && makes_room_) {
        end_ = End::kDropped;
        co_await refuse(
            mail::make_reply(421, fmt::format("4.3.2 {} Error: too busy, try again later",
                                              settings_->address.myhostname)));
        co_return std::nullopt;
      }
      if (io == loop::Io::kTimeout) {
        end_ = End::kTimeout;
        co_await refuse(mail::make_reply(
            421, fmt::format("4.4.2 {} Error: timeout exceeded", settings_->address.myhostname)));
        co_return std::nullopt;
      }
      if (io != loop::Io::kOk) {
        end_by(io);
        co_return std::nullopt;
      }
      continue;
    }
    // The beginning of a line that is too long may be another command, and a NUL is in none. The
    // first byte, which is no command, tells whether this is SMTP at all.
    const bool is_broken = line.state == smtpwire::Line::State::kTooLong || line.nul;
    if (is_too_long != nullptr) *is_too_long = line.state == smtpwire::Line::State::kTooLong;
    std::string text(is_broken ? line.text.substr(0, 1) : line.text);
    stream_.consume(line.consumed);
    if (line.bare_lf && settings_->smtpd.smtpd_forbid_bare_newline == "reject" &&
        !is_bare_newline_excused_) {
      log::info(
          "{} sent a line that ends in <LF> instead of <CR><LF>; see "
          "smtpd_forbid_bare_newline",
          client());
    }
    record_command(text, is_too_long != nullptr);
    if (is_dialogue_logged_) {
      // The answers to AUTH are asked for with room for one that is too long.
      log::info("< {}: {}", client(),
                is_too_long != nullptr ? "(not shown)" : policy::loggable_command(text));
    }
    co_return text;
  }
}

void Session::log_reply(const mail::Reply& reply) const {
  for (std::size_t i = 0; i < reply.lines.size(); ++i) {
    const char separator = i + 1 < reply.lines.size() ? '-' : ' ';
    log::info("> {}: {}{}{}", client(), reply.code, separator,
              reply.code == 334 ? "(not shown)" : log::clean(reply.lines[i]));
  }
}

void Session::end_by(loop::Io io) {
  closing_ = true;
  if (!end_) end_ = io == loop::Io::kTimeout ? End::kTimeout : End::kLost;
}

loop::Task<bool> Session::send(const mail::Reply& reply) {
  std::string wire;
  const bool is_softened = reply.code >= 500 && settings_->smtpd.soft_bounce;
  if (is_softened || (reply.code >= 400 && has_reject_text())) {
    mail::Reply shown = is_softened ? mail::softened(reply) : reply;
    if (has_reject_text()) shown = co_await with_reject_text(std::move(shown));
    shown.append_wire(wire);
    record_reply(shown);
    if (is_dialogue_logged_) log_reply(shown);
  } else {
    reply.append_wire(wire);
    record_reply(reply);
    if (is_dialogue_logged_) log_reply(reply);
  }
  stream_.put(wire);
  // Replies of a client that never reads are not heaped up.
  constexpr std::size_t kMaxPending = std::size_t{16} << 10;
  if (stream_.pending_output() > kMaxPending) co_return co_await flush();
  co_return true;
}

loop::Task<bool> Session::flush() {
  if (stream_.pending_output() == 0) co_return true;
  const loop::Io io = co_await stream_.flush(deadline());
  if (io == loop::Io::kOk) co_return true;
  end_by(io);
  co_return false;
}

loop::Task<void> Session::refuse(mail::Reply reply) {
  closing_ = true;
  (void)co_await send(reply);
  (void)co_await flush();
}

loop::Task<void> Session::handle(std::string_view line) {
  const auto& params = settings_->smtpd;
  std::optional<std::string> replaced;
  if (!params.smtpd_command_filter.empty()) {
    replaced = co_await filter_command(std::string(line));
    if (!replaced) co_return;
    line = *replaced;
  }
  const smtpwire::CommandLine command = smtpwire::split_command(line);
  const std::string name = to_upper(command.name);
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
  if (command.verb == Verb::kUnknown && !name.empty() && co_await is_forbidden(line, name)) {
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

  mail::Reply reply;
  bool junk = false;
  is_trouble_noted_ = false;
  is_undeliverable_ = false;
  switch (command.verb) {
    case Verb::kHelo:
    case Verb::kEhlo:
      junk = true;
      reply = co_await helo_command(command);
      break;
    case Verb::kMail:
      reply = co_await mail_command(command);
      break;
    case Verb::kRcpt:
      reply = co_await rcpt_command(command);
      break;
    case Verb::kData:
      reply = co_await data_command(command);
      break;
    case Verb::kBdat:
      reply = co_await bdat_command(command);
      break;
    case Verb::kRset:
      junk = true;
      reply = reset_command(command);
      break;
    case Verb::kNoop:
      junk = true;
      reply = mail::make_reply(250, "2.0.0 Ok");
      break;
    case Verb::kVrfy:
      junk = true;
      reply = co_await vrfy_command(command);
      break;
    case Verb::kQuit:
      end_ = End::kQuit;
      co_await refuse(mail::make_reply(221, "2.0.0 Bye"));
      co_return;
    case Verb::kAuth:
      reply = co_await auth_command(command);
      break;
    case Verb::kStarttls:
      if (auto refusal = co_await starttls_command(command)) {
        reply = *std::move(refusal);
        break;
      }
      co_return;
    case Verb::kXclient:
      reply = co_await xclient_command(command);
      break;
    case Verb::kXforward:
      reply = co_await xforward_command(command);
      break;
    case Verb::kEtrn:
      junk = true;
      reply = co_await etrn_command(command);
      break;
    case Verb::kLhlo:
    case Verb::kExpn:
    case Verb::kHelp:
    case Verb::kUnknown:
      if (std::find(settings_->noop_commands.begin(), settings_->noop_commands.end(), name) !=
          settings_->noop_commands.end()) {
        junk = true;
        reply = mail::make_reply(250, "2.0.0 Ok");
      } else if (auto refusal = milters_ == nullptr
                                    ? std::optional<mail::Reply>()
                                    : co_await ask_milters(milter::kUnknownCommand,
                                                           std::string(line) + '\0', "UNKNOWN")) {
        reply = *std::move(refusal);
      } else {
        reply = name.empty() ? smtpwire::reply_bad_syntax() : smtpwire::reply_unknown_command();
      }
      break;
  }
  if (closing_) co_return;  // the client went away in the middle
  if (reply.code >= 400) {
    const bool is_excused = std::exchange(is_error_excused_, false);
    if (!is_excused) ++count.failed, ++errors_;
    if (!is_trouble_noted_) troubles_ |= trouble_of(reply);
  }
  // Postfix counts none as done that made another client of this one.
  if (command.verb == Verb::kXclient && reply.code < 400) ++count.failed;
  if (junk && junk_commands_++ > params.smtpd_junk_command_limit) ++errors_;
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

void Session::note_early_input(Verb verb) {
  if (has_early_input_ || stream_.input().empty() || verb == Verb::kBdat) return;
  const bool is_offered = protocol_ != "SMTP" && !discards(kEhloPipelining);
  if (is_offered && !ends_group(verb)) return;
  has_early_input_ = true;
  log::info("improper command pipelining after {} from {}: {}", where_, client(),
            escape_text(stream_.input()));
}

// Called for commands that nobody knows: those in smtpd_forbidden_commands, and the header of a
// message, which shows an open relay test or a browser that was led here.
loop::Task<bool> Session::is_forbidden(std::string_view line, std::string name) {
  if (mail::is_header_line(line)) co_return true;
  for (const auto& forbidden : settings_->forbidden_commands) {
    if (!forbidden.is_table) {
      if (forbidden.word == name) co_return true;
      continue;
    }
    if (forbidden.word == kStockForbiddenTable) {
      if (!is_alpha(name.front())) co_return true;
      continue;
    }
    ipc::tables::Lookup question;
    question.tables.push_back(forbidden.word);
    question.keys.push_back({name, false});
    const auto found =
        co_await neighbours().tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("smtpd_forbidden_commands: {}: {}", forbidden.word, found.error().text);
    } else if (found->is_found) {
      co_return true;
    }
  }
  co_return false;
}

loop::Task<std::optional<std::string>> Session::filter_command(std::string line) {
  ipc::tables::Lookup question;
  question.tables = settings_->smtpd.smtpd_command_filter;
  question.keys.push_back({std::string(trim(line)), false});
  auto found =
      co_await neighbours().tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("smtpd_command_filter: {}", found.error().text);
    end_ = End::kDropped;
    co_await refuse(mail::make_reply(
        421, fmt::format("4.3.0 {} Server local data error", settings_->address.myhostname)));
    co_return std::nullopt;
  }
  if (!found->is_found) co_return line;
  log::info("{}: replacing client command \"{}\" with \"{}\"", client(), log::clean(line, 100),
            log::clean(found->value, 100));
  co_return std::move(found->value);
}

void Session::log_reject(const mail::Reply& reply, std::string_view where,
                         std::string_view recipient, bool has_recipient, std::string_view action) {
  note_rejection(reply);
  log_action(action, reply.to_line(), where, recipient, has_recipient);
}

void Session::note_rejection(const mail::Reply& reply) {
  // Who is asked to come again, by greylisting for one, has done nothing wrong.
  if (reply.code >= 500) note_offence(ipc::anvil::OffenceKind::kReject);
  const Troubles trouble = trouble_of(reply);
  const bool is_ours = (trouble & (kTroubleResource | kTroubleSoftware | kTroubleData)) != 0;
  troubles_ |= is_ours ? trouble : is_undeliverable_ ? kTroubleBounce : kTroublePolicy;
  is_trouble_noted_ = true;
}

void Session::log_action(std::string_view action, std::string_view said, std::string_view where,
                         std::string_view recipient, bool has_recipient) {
  log::RejectLine line;
  line.queue_id = transaction_ ? std::string_view(transaction_->queue_id()) : std::string_view();
  line.action = action;
  line.where = where;
  const std::string from = client();
  line.client = from;
  const std::string text = log::clean(said);
  line.text = text;
  const std::string sender = sender_ ? log::clean(mail::quote_address(*sender_)) : std::string();
  line.sender = sender;
  line.has_sender = sender_.has_value();
  const std::string to = log::clean(mail::quote_address(recipient));
  line.recipient = to;
  line.has_recipient = has_recipient;
  line.protocol = where == "CONNECT" ? std::string_view("SMTP") : std::string_view(protocol_);
  const std::string helo = log::clean(helo_);
  line.helo = helo;
  log::rejected(line);
}

void Session::log_end() {
  if (!end_) end_ = End::kLost;
  if (*end_ == End::kLost) log::info("lost connection after {} from {}", where_, client());
  if (*end_ == End::kTimeout) log::info("timeout after {} from {}", where_, client());
  finish_transcript(0, *end_ == End::kLost      ? "lost connection"
                       : *end_ == End::kTimeout ? "timeout exceeded"
                                                : "");
  std::string text = fmt::format("disconnect from {}", client());
  unsigned total = 0;
  unsigned failed = 0;
  for (const Verb verb : kVerbsInOrder) {
    const Count& count = counts_[static_cast<std::size_t>(verb)];
    if (count.total == 0) continue;
    const std::string_view name =
        verb == Verb::kUnknown ? std::string_view("unknown") : smtpwire::verb_name(verb);
    text += count_text(to_lower(name), count.total, count.failed);
    total += count.total;
    failed += count.failed;
  }
  text += count_text("commands", total, failed);
  const auto event = log::Event("disconnect").with("client", client()).with("session", number_);
  log::write(log::Level::kInfo, text, &event);
}

}  // namespace postern::smtpd
