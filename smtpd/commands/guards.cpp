// guards.cpp - what a command line has to pass before it is a command.

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/header.h"
#include "smtpd/escape.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using smtpwire::Verb;

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

}  // namespace

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
  log::info("{}: replacing command \"{}\" with \"{}\"", client(), log::clean(line, 100),
            log::clean(found->value, 100));
  co_return std::move(found->value);
}

}  // namespace postern::smtpd
