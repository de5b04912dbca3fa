// contact_dialogue.cpp - the SMTP that a client speaks with while it is still being tested: enough
// to learn HELO, sender and recipient, and never a message.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "smtpd/escape.h"
#include "smtpd/first_contact.h"
#include "smtpd/reject_footer.h"
#include "smtpd/restrictions/template_values.h"
#include "smtpd/server.h"

namespace postern::smtpd {

namespace {

using smtpwire::Verb;

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::chrono::seconds kSendTime{60};

template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  const log::ActingAs acting("postscreen");
  log::info(format, std::forward<Args>(args)...);
}

std::string wire(const mail::Reply& reply) { return reply.to_wire(); }

// The address of MAIL and RCPT, without brackets and source route. Nobody gets
// mail here, so what the argument looks like otherwise is left to the session that follows one day.
// Nothing where there is no colon.
std::optional<std::string> loose_address(std::string_view argument) {
  const auto colon = argument.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view rest = trim_left(argument.substr(colon + 1), kBlanks);
  const bool has_bracket = rest.starts_with('<');
  if (has_bracket) rest.remove_prefix(1);
  if (rest.starts_with('@')) {
    const auto route = rest.find(':');
    if (route != std::string_view::npos) rest.remove_prefix(route + 1);
  }
  const char end = has_bracket ? '>' : ' ';
  bool is_quoted = false;
  std::size_t size = 0;
  for (; size < rest.size() && (is_quoted || rest[size] != end); ++size) {
    if (rest[size] == '"') is_quoted = !is_quoted;
    if (rest[size] == '\\' && size + 1 < rest.size()) ++size;
  }
  return mail::unquote_address(rest.substr(0, size));
}

std::int64_t wall_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

loop::Task<bool> Contact::say(std::string reply) {
  reply = co_await with_footer(std::move(reply));
  stream_.put(reply);
  co_return co_await stream_.flush(loop::Clock::now() + kSendTime) == loop::Io::kOk;
}

loop::Task<void> Contact::converse() {
  start_ = loop::Clock::now();
  if (rcpt_text_.empty()) rcpt_text_ = "450 4.3.2 Service currently unavailable";
  // Of whoever has failed already, everything is told that is wrong with it.
  if (is_failed_) {
    for (const ContactTest test : kDeepTests) todo_[static_cast<std::size_t>(test)] = true;
  }
  // Whoever was to be refused for not waiting gets no second greeting.
  const bool is_greeted = has_pregreeted_ && is_failed_;
  if (!is_greeted && !co_await say(fmt::format("220 {}\r\n", settings_->banner))) {
    log_hang_up(Phase::kAfterHandshake);
    co_return;
  }
  for (;;) {
    const auto line = co_await read_line();
    if (!line) co_return;
    if (!co_await answer(*line)) co_return;
  }
}

// Nothing when the connection has ended, which is logged by then.
loop::Task<std::optional<std::string>> Contact::read_line() {
  const auto until = loop::Clock::now() + settings_->params.postscreen_command_time_limit;
  for (;;) {
    const smtpwire::Line line = splitter_.next(stream_.input());
    if (line.state != smtpwire::Line::State::kMore) {
      std::string text(line.text);
      stream_.consume(line.consumed);
      if (line.state == smtpwire::Line::State::kTooLong) {
        note("COMMAND LENGTH LIMIT from {} after {}", name_, last_command_);
        co_await drop(busy_reply());
        co_return std::nullopt;
      }
      if (line.bare_lf && is_todo(ContactTest::kBareNewline)) {
        note("BARE NEWLINE from {} after {}", name_, escape_text(text));
        if (!co_await fail_deep(
                ContactTest::kBareNewline,
                parse_contact_action(settings_->params.postscreen_bare_newline_action),
                "5.5.1 Protocol error")) {
          co_return std::nullopt;
        }
      }
      co_return text;
    }
    stream_.consume(line.consumed);
    const loop::Io io = co_await stream_.fill(until);
    if (io == loop::Io::kOk) continue;
    if (io == loop::Io::kTimeout) {
      note("COMMAND TIME LIMIT from {} after {}", name_, last_command_);
      co_await drop(fmt::format("421 4.4.2 {} Error: timeout exceeded\r\n", settings_->myhostname));
    } else {
      log_hang_up(Phase::kAfterHandshake);
    }
    co_return std::nullopt;
  }
}

std::string Contact::busy_reply() const {
  return fmt::format("421 {} Service unavailable - try again later\r\n", settings_->myhostname);
}

loop::Task<bool> Contact::fail_deep(ContactTest test, ContactAction action, std::string text) {
  // An ignored failure is not told again for a while: the client cannot get through this dialogue
  // in any other way.
  pass(test, wall_seconds() + settings_->shortest_ttl().count());
  co_return co_await fail(action, std::move(text)) != Step::kEnd;
}

loop::Task<bool> Contact::answer(std::string_view line) {
  const auto& params = settings_->params;
  std::string text(line);
  if (!params.postscreen_command_filter.empty()) text = co_await filtered(std::move(text));
  const smtpwire::CommandLine command = smtpwire::split_command(text);
  const std::string name = to_upper(command.name);

  if (++commands_ > params.postscreen_command_count_limit) {
    note("COMMAND COUNT LIMIT from {} after {}", name_, last_command_);
    co_await drop(busy_reply());
    co_return false;
  }
  if (command.verb == Verb::kQuit) {
    (void)co_await say("221 2.0.0 Bye\r\n");
    note("DISCONNECT {}", name_);
    co_return false;
  }
  if (is_todo(ContactTest::kNonSmtpCommand) && command.verb == Verb::kUnknown && !name.empty() &&
      co_await is_forbidden(text, name)) {
    note("NON-SMTP COMMAND from {} after {}: {}", name_, last_command_, escape_text(text));
    const auto action = parse_contact_action(params.postscreen_non_smtp_command_action);
    if (!co_await fail_deep(ContactTest::kNonSmtpCommand, action,
                            action == ContactAction::kDrop
                                ? "5.7.0 Error: this is a mail server. Goodbye."
                                : "5.5.1 Protocol error")) {
      co_return false;
    }
  }
  last_command_ =
      command.verb == Verb::kUnknown ? "UNKNOWN" : std::string(smtpwire::verb_name(command.verb));
  if (is_todo(ContactTest::kPipelining) && !stream_.input().empty()) {
    note("COMMAND PIPELINING from {} after {}: {}", name_, last_command_,
         escape_text(stream_.input()));
    if (!co_await fail_deep(ContactTest::kPipelining,
                            parse_contact_action(params.postscreen_pipelining_action),
                            "5.5.1 Protocol error")) {
      co_return false;
    }
  }
  if (command.verb == Verb::kStarttls) co_await room_.tls_.settle();
  if (command.verb == Verb::kStarttls && starttls_refusal(command).empty()) {
    co_return co_await start_tls();
  }
  std::string reply = co_await reply_to(command);
  // Content follows, whatever the answer is: nobody reads it here.
  const bool is_content = command.verb == Verb::kData || command.verb == Verb::kBdat;
  if (is_content) note("{} without valid RCPT from {}", last_command_, name_);
  const bool is_end = is_content || reply.starts_with("421") || reply.starts_with("521");
  const bool is_said = co_await say(std::move(reply));
  recipient_.reset();
  if (!is_said) {
    log_hang_up(Phase::kAfterHandshake);
    co_return false;
  }
  if (is_end) note("DISCONNECT {}", name_);
  co_return !is_end;
}

// Empty where the handshake may begin.
std::string Contact::starttls_refusal(const smtpwire::CommandLine& command) const {
  if (!command.argument.empty()) return "501 5.5.4 Syntax: STARTTLS\r\n";
  if (is_encrypted()) return "554 5.5.1 Error: TLS already active\r\n";
  if (!settings_->tls.is_offered || (discarded_keywords_ & kEhloStarttls) != 0) {
    return "502 5.5.1 Error: command not implemented\r\n";
  }
  if (room_.tls_.context() == nullptr) {
    return "454 4.7.0 TLS not available due to local problem\r\n";
  }
  return {};
}

bool Contact::is_tls_due(Verb verb) const {
  return settings_->tls.is_demanded && !is_encrypted() &&
         (verb == Verb::kMail || verb == Verb::kRcpt || verb == Verb::kData ||
          verb == Verb::kBdat || verb == Verb::kVrfy || verb == Verb::kEtrn ||
          verb == Verb::kAuth || verb == Verb::kRset);
}

// A client that must have TLS could not be tested without.
loop::Task<bool> Contact::start_tls() {
  if (!co_await say("220 2.0.0 Ready to start TLS\r\n")) {
    log_hang_up(Phase::kAfterHandshake);
    co_return false;
  }
  const TlsSettings& settings = settings_->tls;
  tls::KeyringNames names(room_.tls_.keyring(), settings.names);
  tls::AcceptOptions options;
  if (!settings.names.empty()) options.names = &names;
  const auto context = room_.tls_.context();
  const auto deadline = loop::Clock::now() + settings.timeout;
  const auto done = co_await tls::accept(stream_, context, std::move(options), deadline);
  if (!done) {
    note("SSL_accept error from {}: {}", name_, log::clean(done.error().text));
    log_hang_up(Phase::kAfterHandshake);
    co_return false;
  }
  helo_.clear();
  sender_.reset();
  protocol_ = "SMTP";
  splitter_ = smtpwire::LineSplitter(settings_->line_length_limit);
  co_return true;
}

loop::Task<std::string> Contact::reply_to(const smtpwire::CommandLine& command) {
  if (is_tls_due(command.verb)) {
    co_return std::string("530 5.7.0 Must issue a STARTTLS command first\r\n");
  }
  switch (command.verb) {
    case Verb::kHelo:
    case Verb::kEhlo: {
      const auto good = smtpwire::parse_helo(command.verb, command.argument);
      if (!good) co_return wire(good.error());
      helo_ = split_words(command.argument, kBlanks).front();
      sender_.reset();
      const bool is_extended = command.verb == Verb::kEhlo;
      protocol_ = is_extended ? "ESMTP" : "SMTP";
      if (is_extended) {
        co_await room_.tls_.settle();
        std::string reply = co_await ehlo_reply();
        co_return reply;
      }
      co_return fmt::format("250 {}\r\n", settings_->myhostname);
    }
    case Verb::kMail: {
      if (helo_.empty() && settings_->params.postscreen_helo_required) {
        co_return std::string("503 5.5.1 Error: send HELO/EHLO first\r\n");
      }
      if (sender_) co_return std::string("503 5.5.1 Error: nested MAIL command\r\n");
      auto address = loose_address(command.argument);
      if (!address) co_return std::string("501 5.5.4 Syntax: MAIL FROM:<address>\r\n");
      sender_ = *std::move(address);
      co_return std::string("250 2.1.0 Ok\r\n");
    }
    case Verb::kRcpt:
      co_return rcpt_reply(command);
    case Verb::kBdat:
      if (const auto chunk = smtpwire::parse_bdat(command.argument); !chunk) {
        co_return std::string("501 5.5.4 Syntax: BDAT count [LAST]\r\n");
      }
      if (!sender_) co_return std::string("554 5.5.1 Error: need MAIL command\r\n");
      co_return std::string("554 5.5.1 Error: no valid recipients\r\n");
    case Verb::kData:
      if (!command.argument.empty()) co_return std::string("501 5.5.4 Syntax: DATA\r\n");
      if (!sender_) co_return std::string("503 5.5.1 Error: need RCPT command\r\n");
      co_return std::string("554 5.5.1 Error: no valid recipients\r\n");
    case Verb::kRset:
      sender_.reset();
      co_return std::string("250 2.0.0 Ok\r\n");
    case Verb::kNoop:
      co_return std::string("250 2.0.0 Ok\r\n");
    case Verb::kVrfy:
      if (settings_->params.postscreen_disable_vrfy_command) {
        co_return std::string("502 5.5.1 VRFY command is disabled\r\n");
      }
      if (command.argument.empty()) co_return std::string("501 5.5.4 Syntax: VRFY address\r\n");
      co_return rcpt_text_ + "\r\n";
    case Verb::kEtrn:
      if (command.argument.empty()) co_return std::string("500 Syntax: ETRN domain\r\n");
      co_return std::string("458 Unable to queue messages\r\n");
    case Verb::kStarttls:
      co_return starttls_refusal(command);
    default:
      co_return std::string("502 5.5.2 Error: command not recognized\r\n");
  }
}

loop::Task<EhloKeywords> Contact::choose_keywords() {
  const auto& maps = settings_->params.postscreen_discard_ehlo_keyword_address_maps;
  const EhloKeywords otherwise = settings_->discarded_keywords;
  if (maps.empty()) co_return otherwise;
  ipc::tables::Lookup question;
  question.tables = maps;
  question.keys.push_back({address_, false});
  const auto found = co_await room_.neighbours_.tables.lookup(std::move(question),
                                                              loop::Clock::now() + kTablesTime);
  if (!found) {
    // No mail depends on it here: nothing is offered that is not always there.
    log::warning("postscreen_discard_ehlo_keyword_address_maps: {}", found.error().text);
    co_return otherwise;
  }
  if (!found->is_found) co_return otherwise;
  co_return parse_ehlo_keywords(config::split_list(found->value));
}

loop::Task<std::string> Contact::with_footer(std::string reply) {
  const auto& params = settings_->params;
  const bool refuses = reply.starts_with('4') || reply.starts_with('5');
  if (!refuses ||
      (params.postscreen_reject_footer.empty() && params.postscreen_reject_footer_maps.empty())) {
    co_return reply;
  }
  auto parsed = mail::parse_reply_text(trim_right(reply, "\r\n"));
  if (!parsed) co_return reply;
  std::string footer = params.postscreen_reject_footer;
  auto own =
      co_await find_reply_text(room_.neighbours_.tables, params.postscreen_reject_footer_maps,
                               parsed->to_line(), "postscreen_reject_footer_maps");
  if (own) footer = *std::move(own);
  if (footer.empty()) co_return reply;
  const ContactFacts facts{.address = address_,
                           .port = port_,
                           .helo = helo_,
                           .myhostname = settings_->myhostname,
                           .sender = sender_ ? &*sender_ : nullptr,
                           .recipient = recipient_ ? &*recipient_ : nullptr};
  const auto expanded = expand_template(footer, template_values(facts), settings_->values.get(),
                                        settings_->expansion_filter);
  if (!expanded) {
    log::warning("postscreen_reject_footer: {}", expanded.error().text);
    co_return reply;
  }
  append_footer(*parsed, *expanded);
  co_return parsed->to_wire();
}

loop::Task<std::string> Contact::ehlo_reply() {
  discarded_keywords_ = co_await choose_keywords();
  mail::Reply reply;
  reply.lines.push_back(settings_->myhostname);
  const auto offer = [&](EhloKeywords keyword, std::string text) {
    if ((discarded_keywords_ & keyword) == 0) reply.lines.push_back(std::move(text));
  };
  // PIPELINING is not offered: sessions here end before there is anything to gain by it.
  offer(kEhloSize, settings_->message_size_limit > 0
                       ? fmt::format("SIZE {}", settings_->message_size_limit)
                       : "SIZE");
  if (!settings_->disable_vrfy_command) offer(kEhloVrfy, "VRFY");
  offer(kEhloEtrn, "ETRN");
  const bool has_tls = settings_->tls.is_demanded || room_.tls_.context() != nullptr;
  if (settings_->tls.is_offered && !is_encrypted() && has_tls) offer(kEhloStarttls, "STARTTLS");
  offer(kEhloEnhancedStatusCodes, "ENHANCEDSTATUSCODES");
  offer(kEhlo8BitMime, "8BITMIME");
  offer(kEhloDsn, "DSN");
  if (settings_->smtputf8_enable) offer(kEhloSmtputf8, "SMTPUTF8");
  offer(kEhloChunking, "CHUNKING");
  co_return reply.to_wire();
}

std::string Contact::rcpt_reply(const smtpwire::CommandLine& command) {
  // So far without a fault: the client speaks SMTP. It may still fail in what follows.
  for (const ContactTest test : kDeepTests) {
    if (!is_failed_ && is_todo(test)) pass(test, wall_seconds() + settings_->ttl(test).count());
  }
  if (!sender_) return "503 5.5.1 Error: need MAIL command\r\n";
  recipient_ = loose_address(command.argument);
  if (!recipient_) return "501 5.5.4 Syntax: RCPT TO:<address>\r\n";
  note("NOQUEUE: reject: RCPT from {}: {}; from=<{}>, to=<{}>, proto={}, helo=<{}>", name_,
       rcpt_text_, log::clean(mail::quote_address(*sender_)),
       log::clean(mail::quote_address(*recipient_)), protocol_, log::clean(helo_));
  return rcpt_text_ + "\r\n";
}

loop::Task<bool> Contact::is_forbidden(std::string_view line, std::string name) {
  if (mail::is_header_line(line)) co_return true;
  for (const auto& forbidden : settings_->forbidden_commands) {
    if (!forbidden.is_table || forbidden.word == kStockForbiddenTable) {
      if (forbidden.is_table ? !is_alpha(name.front()) : forbidden.word == name) co_return true;
      continue;
    }
    ipc::tables::Lookup question;
    question.tables.push_back(forbidden.word);
    question.keys.push_back({name, false});
    const auto found = co_await room_.neighbours_.tables.lookup(std::move(question),
                                                                loop::Clock::now() + kTablesTime);
    if (found && found->is_found) co_return true;
  }
  co_return false;
}

loop::Task<std::string> Contact::filtered(std::string line) {
  ipc::tables::Lookup question;
  question.tables = settings_->params.postscreen_command_filter;
  question.keys.push_back({std::string(trim(line)), false});
  auto found = co_await room_.neighbours_.tables.lookup(std::move(question),
                                                        loop::Clock::now() + kTablesTime);
  if (!found || !found->is_found) co_return line;
  note("{}: replacing command \"{}\" with \"{}\"", name_, log::clean(line, 100),
       log::clean(found->value, 100));
  co_return std::move(found->value);
}

}  // namespace postern::smtpd
