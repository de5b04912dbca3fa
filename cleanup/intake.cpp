#include "cleanup/intake.h"

#include <fmt/format.h>

#include "cleanup/rewriting.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/mime.h"
#include "common/mail/rewrite.h"
#include "common/mail/status.h"

namespace postern::cleanup {

namespace {

WallTime time_of(const queuefile::ArrivalTime& arrival) {
  return WallTime(std::chrono::seconds(arrival.seconds)) +
         std::chrono::microseconds(arrival.microseconds);
}

queuefile::ArrivalTime now_as_arrival() {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  return {now / 1'000'000, static_cast<std::int32_t>(now % 1'000'000)};
}

}  // namespace

ipc::cleanup::Outcome Intake::refuse(int code, std::string_view status,
                                     std::string_view text) const {
  ipc::cleanup::Outcome outcome;
  outcome.queue_id = queue_id_;
  outcome.reply_code = code;
  outcome.status = status;
  outcome.text = text;
  return outcome;
}

// The first thing that went wrong is the one that is told.
void Intake::fail_with(int code, std::string_view status, std::string_view text, bool is_logged) {
  if (failure_.reply_code != 0) return;
  failure_ = refuse(code, status, text);
  failure_.is_logged = is_logged;
}

std::string Intake::attribute(std::string_view name) const {
  for (const auto& [key, value] : envelope_.attributes) {
    if (key == name) return value;
  }
  return {};
}

RewriteOptions Intake::rewrite_options() const {
  RewriteOptions options;
  options.is_local_context = true;  // envelopes are completed whoever the client is
  options.skip_aliases = !maps_addresses();
  options.enable_original_recipient = room_.settings.enable_original_recipient;
  options.service = room_.settings.service;
  options.duplicate_filter_limit = room_.settings.duplicate_filter_limit;
  return options;
}

bool Intake::maps_addresses() const { return (overrides_ & ipc::cleanup::kNoAddressMappings) == 0; }

bool Intake::is_internal() const {
  return envelope_.origin == queuefile::Origin::kNotice ||
         envelope_.origin == queuefile::Origin::kProbe;
}

// Not what is sent on by aliases and .forward files, either: that has passed here before.
bool Intake::is_from_outside() const {
  return envelope_.origin == queuefile::Origin::kNetwork ||
         envelope_.origin == queuefile::Origin::kLocal;
}

loop::Task<void> Intake::open(std::string run) {
  auto envelope = queuefile::read_envelope(run);
  if (!envelope) {
    fail_with(451, "4.3.0", "Error: queue file write error");
    log::warning("{}: envelope: {}", queue_id_, envelope.error().text);
    co_return;
  }
  envelope_ = *std::move(envelope);
  if (envelope_.arrival.seconds == 0) envelope_.arrival = now_as_arrival();
  arrival_ = time_of(envelope_.arrival);
  received_recipients_ = envelope_.recipients.size();
  // The trace field names the recipient if the client gave one only; BCC of access tables is not
  // the client's.
  std::size_t named = 0;
  for (const auto& recipient : envelope_.recipients) {
    if (recipient.notify == queuefile::kNotifyNever && recipient.orig_to.empty()) continue;
    only_recipient_ = ++named == 1 ? recipient.address : std::string();
  }

  received_sender_ = envelope_.sender;
  wanted_verdicts_ =
      parse_integer<std::int64_t>(attribute(ipc::mailauth::kAttribute), 0, 255).value_or(0);
  if (room_.settings.authentication.signs_local && envelope_.origin == queuefile::Origin::kLocal) {
    wanted_verdicts_ |= ipc::mailauth::kSign;
  }
  envelope_.sender = mail::rewrite_address(room_.settings.header.rewrite,
                                           mail::RewriteContext::kLocal, envelope_.sender);
  if (const Result<void> restored = co_await restore_senders(); !restored) {
    fail_with(451, "4.3.0", "Temporary lookup failure");
    log::warning("{}: {}", queue_id_, restored.error().text);
    co_return;
  }
  RewriteOptions options = rewrite_options();
  options.is_for_probe = envelope_.origin == queuefile::Origin::kProbe;
  if (maps_addresses() && room_.settings.has_sender_maps && !envelope_.sender.empty()) {
    auto mapped = co_await map_sender(room_.tables, envelope_.sender, room_.settings.service);
    if (!mapped) {
      fail_with(451, "4.3.0", "Temporary lookup failure");
      log::warning("{}: {}", queue_id_, mapped.error().text);
      co_return;
    }
    envelope_.sender = std::move(mapped->address);
    if (is_from_outside()) options.bcc = std::move(mapped->bcc);
  }
  if (maps_addresses() && is_from_outside() && !room_.settings.always_bcc.empty()) {
    options.bcc.insert(options.bcc.begin(), room_.settings.always_bcc);
  }
  options.skip_bcc = !is_from_outside();
  const Result<void> rewritten =
      co_await rewrite_recipients(room_.tables, envelope_, options, &last_recipient_);
  if (!rewritten) {
    std::string_view consequence;
    if (rewritten.error().kind == Error::Kind::kPermanent) {
      fail_with(554, "5.4.6", rewritten.error().text);
    } else if (rewritten.error().kind == Error::Kind::kConfig) {
      fail_with(451, "4.6.0", "Alias expansion error");
      consequence = " -- message not accepted, try again later";
    } else {
      fail_with(451, "4.3.0", "Temporary lookup failure");
    }
    log::warning("{}: {}{}", queue_id_, rewritten.error().text, consequence);
    co_return;
  }
  if (const auto bounds = queuefile::check_bounds(envelope_); !bounds) {
    fail_with(552, "5.3.4", "Error: envelope too large");
    co_return;
  }
  writer_ = std::make_unique<queuefile::Writer>(envelope_);
  if (milters_ == nullptr && envelope_.origin == queuefile::Origin::kLocal &&
      (overrides_ & ipc::cleanup::kNoMilters) == 0 &&
      !room_.settings.non_smtpd_milters.milters.empty()) {
    co_await begin_milters();
  }
}

bool Intake::is_checked() const {
  if ((overrides_ & ipc::cleanup::kNoHeaderBodyChecks) != 0) return false;
  if ((envelope_.flags & queuefile::kFlagNoFilter) != 0) return false;
  return is_from_outside() || (is_internal() && room_.settings.filters_bounces);
}

// Who sent what to whom, as lines about content show it.
std::string Intake::about() const {
  std::string text = envelope_.origin == queuefile::Origin::kNetwork
                         ? fmt::format("{}[{}]", envelope_.client.name, envelope_.client.address)
                         : "local";
  text += fmt::format("; from=<{}>", mail::quote_address(envelope_.sender));
  if (!last_recipient_.empty()) text += fmt::format(" to=<{}>", last_recipient_);
  if (!envelope_.client.protocol.empty()) text += " proto=" + envelope_.client.protocol;
  if (!envelope_.client.helo.empty()) text += fmt::format(" helo=<{}>", envelope_.client.helo);
  return text;
}

bool Intake::is_unchecked(const Result<std::string>& checked) {
  if (!checked) {
    log::warning("{}: {}", queue_id_, checked.error().text);
    fail_with(451, "4.3.0", "Temporary lookup failure");
  }
  return !checked;
}

// The strict_ parameters.
void Intake::judge_structure() {
  if (!is_checked()) return;
  const CheckSettings& settings = room_.settings.checks;
  const auto faults = checks_->faults();
  if (settings.strict_mime_encoding_domain && (faults & mail::MimeParser::kEncodingDomain) != 0) {
    fail_with(550, "5.6.0", "invalid message/* or multipart/* encoding domain");
  }
  if (settings.strict_7bit_headers && (faults & mail::MimeParser::kEightBitHeader) != 0) {
    fail_with(550, "5.6.0", "improper use of 8-bit data in message header");
  }
  if (settings.strict_8bitmime_body && (faults & mail::MimeParser::kEightBitBody) != 0) {
    fail_with(550, "5.6.0", "improper use of 8-bit data in message body");
  }
}

void Intake::judge() {
  const Effects& effects = checks_->effects();
  if (!effects.is_rejected) return;
  const auto [status, text] = mail::split_status(effects.rejection.text, mail::Status{5, 7, 1});
  fail_with(status.is_temporary() ? 451 : 550, status.to_string(), text, true);
}

}  // namespace postern::cleanup
