// session_log.cpp - what the log and the notices say of a session.

#include <fmt/format.h>

#include <array>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using smtpwire::Verb;

// In the order of the disconnect line.
constexpr std::array kVerbsInOrder = {Verb::kHelo,     Verb::kEhlo, Verb::kXclient, Verb::kXforward,
                                      Verb::kStarttls, Verb::kAuth, Verb::kMail,    Verb::kRcpt,
                                      Verb::kData,     Verb::kBdat, Verb::kRset,    Verb::kNoop,
                                      Verb::kVrfy,     Verb::kEtrn, Verb::kQuit,    Verb::kUnknown};

std::string count_text(std::string_view name, unsigned total, unsigned failed) {
  return failed == 0 ? fmt::format(" {}={}", name, total)
                     : fmt::format(" {}={}/{}", name, total - failed, total);
}

}  // namespace

void Session::log_reply(const mail::Reply& reply) const {
  for (std::size_t i = 0; i < reply.lines.size(); ++i) {
    const char separator = i + 1 < reply.lines.size() ? '-' : ' ';
    log::info("> {}: {}{}{}", client(), reply.code, separator,
              reply.code == 334 ? "(not shown)" : log::clean(reply.lines[i]));
  }
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
  // The text of a transport that always fails is no trouble of ours, whatever it says.
  troubles_ |= is_undeliverable_ ? kTroubleBounce : is_ours ? trouble : kTroublePolicy;
  is_trouble_noted_ = true;
}

void Session::log_action(std::string_view action, std::string_view said, std::string_view where,
                         std::string_view recipient, bool has_recipient,
                         std::string_view sasl_username) {
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
  const std::string user = log::clean(sasl_username);
  line.sasl_username = user;
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
  // Log readers know a client that said nothing by "0/0".
  text += total == 0 ? std::string(" commands=0/0") : count_text("commands", total, failed);
  const auto event = log::Event("disconnect").with("client", client()).with("session", number_);
  log::write(log::Level::kInfo, text, &event);
}

}  // namespace postern::smtpd
