#include "smtpd/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/ipc/resolver.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "common/smtpwire/chunk.h"

namespace postern::smtpd {

namespace {

using smtpwire::Verb;

// In the order of the disconnect line.
constexpr std::array kVerbsInOrder = {
    Verb::kHelo, Verb::kEhlo,    Verb::kStarttls, Verb::kAuth, Verb::kMail, Verb::kRcpt,
    Verb::kData, Verb::kBdat,    Verb::kRset,     Verb::kNoop, Verb::kVrfy, Verb::kEtrn,
    Verb::kQuit, Verb::kXclient, Verb::kXforward, Verb::kHelp, Verb::kExpn, Verb::kUnknown};

constexpr std::chrono::seconds kResolverTime{30};

std::string count_text(std::string_view name, unsigned total, unsigned failed) {
  return failed == 0 ? fmt::format(" {}={}", name, total)
                     : fmt::format(" {}={}/{}", name, total - failed, total);
}

}  // namespace

Session::Session(Server& server, SettingsPtr settings, sys::Accepted client, std::int64_t number)
    : server_(server),
      settings_(std::move(settings)),
      stream_(std::move(client.fd)),
      peer_(client.peer),
      number_(number),
      splitter_(settings_->line_length_limit),
      client_address_(peer_.host()),
      ip_(config::parse_ip_address(client_address_)) {}

Session::~Session() = default;

std::string Session::client() const {
  if (settings_->smtpd.smtpd_client_port_logging) {
    return fmt::format("{}[{}]:{}", client_name_, client_address_, peer_.port());
  }
  return fmt::format("{}[{}]", client_name_, client_address_);
}

bool Session::is_in_mynetworks() const {
  return ip_ && settings_->address.mynetworks.contains(*ip_);
}

bool Session::is_bare_newline_excused() const {
  return ip_ && settings_->smtpd.smtpd_forbid_bare_newline_exclusions.contains(*ip_);
}

// local_header_rewrite_clients: whose headers are completed.
bool Session::is_local_client() const {
  for (const auto& word : settings_->address.local_header_rewrite_clients) {
    if (word == "permit_mynetworks" && is_in_mynetworks()) return true;
    if (word == "permit_inet_interfaces" &&
        std::find(settings_->own_addresses.begin(), settings_->own_addresses.end(),
                  client_address_) != settings_->own_addresses.end()) {
      return true;
    }
    if (word == "static:all") return true;
  }
  return false;
}

loop::Deadline Session::deadline() const {
  return loop::Clock::now() + settings_->smtpd.smtpd_timeout;
}

loop::Task<void> Session::run() {
  server_.neighbours().cleanup.connect();
  co_await look_up_client();
  log::info("connect from {}", client());
  co_await greet();
  while (!closing_) co_await converse();
  log_end();
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
  if (!peer->warning.empty()) log::warning("{}", log::clean(peer->warning));
}

loop::Task<void> Session::greet() {
  std::optional<mail::Reply> refusal;
  if (!settings_->smtpd.smtpd_delay_reject) refusal = co_await check(Stage::kClient);
  if (refusal) {
    log_reject(*refusal, "CONNECT");
    // The session stays, and everything but QUIT is refused (RFC 5321 3.1).
    refusal->code = refusal->is_temporary() ? 450 : 554;
  }
  mail::Reply hello;
  hello.code = 220;
  hello.lines = {settings_->smtpd.smtpd_banner};
  if (refusal) hello = *refusal;
  (void)co_await send(hello);
  if (refusal) closing_ = true;
  if (!co_await flush()) closing_ = true;
}

loop::Task<void> Session::converse() {
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

loop::Task<std::optional<std::string>> Session::read_command() {
  const loop::Deadline until = deadline();
  for (;;) {
    const smtpwire::Line line = splitter_.next(stream_.input());
    if (line.state == smtpwire::Line::State::kMore) {
      stream_.consume(line.consumed);
      // Nothing more to answer at once: now the replies leave.
      if (!co_await flush()) co_return std::nullopt;
      waiting_for_command_ = true;
      const loop::Io io = co_await stream_.fill(until);
      waiting_for_command_ = false;
      if (io == loop::Io::kCancelled && draining_) {
        co_await refuse(mail::make_reply(
            421, fmt::format("4.3.2 {} Service is shutting down", settings_->address.myhostname)));
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
    std::string text(is_broken ? line.text.substr(0, 1) : line.text);
    stream_.consume(line.consumed);
    if (line.bare_lf && settings_->smtpd.smtpd_forbid_bare_newline == "reject" &&
        !is_bare_newline_excused()) {
      log::info(
          "{} sent a line that ends in <LF> instead of <CR><LF>; see "
          "smtpd_forbid_bare_newline",
          client());
    }
    co_return text;
  }
}

void Session::end_by(loop::Io io) {
  closing_ = true;
  if (!end_) end_ = io == loop::Io::kTimeout ? End::kTimeout : End::kLost;
}

loop::Task<bool> Session::send(const mail::Reply& reply) {
  std::string wire;
  reply.append_wire(wire);
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
  if (errors_ >= params.smtpd_hard_error_limit) {
    log::info("too many errors after {} from {}", where_, client());
    end_ = End::kDropped;
    co_await refuse(mail::make_reply(
        421, fmt::format("4.7.0 {} Error: too many errors", settings_->address.myhostname)));
    co_return;
  }
  const smtpwire::CommandLine command = smtpwire::split_command(line);
  const std::string name = to_upper(command.name);
  where_ =
      command.verb == Verb::kUnknown ? "UNKNOWN" : std::string(smtpwire::verb_name(command.verb));
  Count& count = counts_[static_cast<std::size_t>(command.verb)];
  ++count.total;

  if (std::find(settings_->forbidden_commands.begin(), settings_->forbidden_commands.end(), name) !=
          settings_->forbidden_commands.end() ||
      (command.verb == Verb::kUnknown && !name.empty() &&
       (!is_alpha(name.front()) || mail::is_header_line(line)))) {
    ++count.failed;
    log::warning("non-SMTP command from {}: {}", client(), log::clean(line, 100));
    end_ = End::kDropped;
    co_await refuse(mail::make_reply(221, "2.7.0 Error: this is a mail server. Goodbye."));
    co_return;
  }

  mail::Reply reply;
  bool junk = false;
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
      reply = mail::make_reply(503, "5.5.1 Error: authentication not enabled");
      break;
    case Verb::kStarttls:
      reply = mail::make_reply(502, "5.5.1 Error: command not implemented");
      break;
    case Verb::kXclient:
    case Verb::kXforward:
      reply = mail::make_reply(550, "5.7.0 Error: insufficient authorization");
      break;
    case Verb::kLhlo:
    case Verb::kExpn:
    case Verb::kEtrn:
    case Verb::kHelp:
    case Verb::kUnknown:
      if (std::find(settings_->noop_commands.begin(), settings_->noop_commands.end(), name) !=
          settings_->noop_commands.end()) {
        junk = true;
        reply = mail::make_reply(250, "2.0.0 Ok");
      } else {
        reply = name.empty() ? smtpwire::reply_bad_syntax() : smtpwire::reply_unknown_command();
      }
      break;
  }
  if (closing_) co_return;  // the client went away in the middle
  if (reply.code >= 400) {
    ++count.failed;
    ++errors_;
  }
  if (junk && ++junk_commands_ > params.smtpd_junk_command_limit) ++errors_;
  if (errors_ > params.smtpd_soft_error_limit && reply.code >= 400 &&
      params.smtpd_error_sleep_time.count() > 0) {
    co_await loop::sleep_for(params.smtpd_error_sleep_time);
  }
  if (reply.closes() || reply.code == 521) {
    end_ = End::kDropped;
    co_await refuse(reply);
    co_return;
  }
  if (!co_await send(reply)) closing_ = true;
}

void Session::drain() {
  draining_ = true;
  if (waiting_for_command_ && !transaction_) stream_.cancel_waits();
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
  hold_ = false;
}

void Session::log_reject(const mail::Reply& reply, std::string_view where,
                         std::string_view recipient, bool has_recipient) {
  log::RejectLine line;
  line.queue_id = transaction_ ? std::string_view(transaction_->queue_id()) : std::string_view();
  line.action = "reject";
  line.where = where;
  const std::string from = client();
  line.client = from;
  const std::string text = log::clean(reply.to_line());
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
