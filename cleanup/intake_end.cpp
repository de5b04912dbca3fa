// intake_end.cpp - the end of a message: what is added to it, its commit, and who hears of it.

#include "cleanup/intake.h"

#include <algorithm>

#include "cleanup/rewriting.h"
#include "cleanup/tls_wishes.h"
#include "common/base/text.h"
#include "common/ipc/qmgr.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/received.h"
#include "common/mailauth/converted_top.h"

namespace postern::cleanup {

namespace {

constexpr std::size_t kMaxLoggedText = 1500;

// The word of smtputf8_autodetect_classes.
std::string_view class_of(queuefile::Origin origin) {
  switch (origin) {
    case queuefile::Origin::kNetwork:
      return "smtpd";
    case queuefile::Origin::kLocal:
      return "sendmail";
    case queuefile::Origin::kForward:
      return "forward";
    case queuefile::Origin::kNotice:
      return "bounce";
    case queuefile::Origin::kProbe:
      return "verify";
  }
  return "";
}

}  // namespace

std::string Intake::trace() const {
  const auto& settings = room_.settings;
  if (envelope_.origin == queuefile::Origin::kLocal) {
    const std::string uid = attribute("uid");
    return mail::format_received_local(settings.header.myhostname, settings.mail_name,
                                       std::strtoul(uid.c_str(), nullptr, 10), queue_id_, arrival_);
  }
  if (envelope_.origin != queuefile::Origin::kNetwork ||
      attribute("hide_client_session") == "yes") {
    return mail::format_received_internal(settings.header.myhostname, settings.mail_name, queue_id_,
                                          arrival_);
  }
  mail::ReceivedTrace trace;
  // With XFORWARD the envelope's client is the one that ours speaks for.
  const auto of_connection = [this](std::string_view name, const std::string& otherwise) {
    std::string value = attribute(name);
    return value.empty() ? otherwise : value;
  };
  const std::string address = of_connection("client_address", envelope_.client.address);
  trace.helo = of_connection("helo_name", envelope_.client.helo);
  trace.client_name = of_connection("client_name", envelope_.client.name);
  trace.client_address = address.find(':') == std::string::npos ? address : "IPv6:" + address;
  trace.sasl_username = attribute("received_sasl_username");
  trace.myhostname = settings.header.myhostname;
  trace.mail_name = settings.mail_name;
  trace.protocol = of_connection("protocol_name", envelope_.client.protocol);
  // RFC 3848: who logged in, and behind TLS, speaks ESMTPSA.
  if (trace.protocol != "SMTP") {
    if (!attribute("received_secret").empty()) trace.protocol += 'S';
    if (!envelope_.sasl_username.empty()) trace.protocol += 'A';
  }
  if (const std::string tls = attribute("received_tls"); !tls.empty()) {
    for (const auto line : split_fields(tls, '\n')) trace.tls.emplace_back(line);
    trace.tls_peer = attribute("received_tls_peer");
  }
  trace.queue_id = queue_id_;
  trace.recipient = only_recipient_;
  trace.arrival = arrival_;
  return mail::format_received(trace);
}

loop::Task<Result<void>> Intake::amend(ipc::cleanup::End end, queuefile::Amendment& amendment) {
  if (!end.filter.empty()) {
    amendment.attributes.emplace_back("content_filter", end.filter);
    envelope_.content_filter = std::move(end.filter);
  }
  if (!end.redirect.empty()) {
    amendment.attributes.emplace_back("redirect_to", end.redirect);
    envelope_.redirect = std::move(end.redirect);
  }
  if (new_sender_) {
    amendment.sender = *new_sender_;
    envelope_.sender = *new_sender_;
  }
  if (end.bcc.empty() && more_recipients_.empty()) co_return Result<void>{};
  queuefile::Envelope more;
  more.sender = envelope_.sender;
  for (auto& address : end.bcc) {
    queuefile::Recipient recipient;
    recipient.address = std::move(address);
    recipient.notify = queuefile::kNotifyNever;
    more.recipients.push_back(std::move(recipient));
  }
  for (auto& address : more_recipients_) {
    queuefile::Recipient recipient;
    recipient.address = std::move(address);
    more.recipients.push_back(std::move(recipient));
  }
  RewriteOptions options = rewrite_options();
  options.skip_bcc = true;
  CO_DO(co_await rewrite_recipients(room_.tables, more, options));
  amendment.recipients = std::move(more.recipients);
  co_return queuefile::check_bounds(amendment);
}

loop::Task<ipc::cleanup::Outcome> Intake::finish(bool is_hold, ipc::cleanup::End end) {
  ipc::cleanup::Outcome outcome = co_await complete(is_hold, std::move(end));
  // Those that wait for the rest of a message hear that none comes.
  if (milters_ != nullptr) co_await milters_->give_up();
  co_return outcome;
}

// RFC 6531 3.4: what was announced as SMTPUTF8 may still be sent to others where nothing in it is
// UTF-8. For the classes of smtputf8_autodetect_classes finding UTF-8 is as good as a word of it.
std::uint8_t Intake::smtputf8_bits(std::string_view header) const {
  std::uint8_t bits = envelope_.smtputf8;
  if (!is_all_ascii(envelope_.sender)) bits |= queuefile::kUtf8Sender;
  const bool has_utf8_recipient = std::ranges::any_of(
      envelope_.recipients,
      [](const queuefile::Recipient& recipient) { return !is_all_ascii(recipient.address); });
  if (has_utf8_recipient) bits |= queuefile::kUtf8Recipient;
  if (!is_all_ascii(header)) bits |= queuefile::kUtf8Header;
  if ((bits & queuefile::kUtf8Requested) != 0 || bits == 0) return bits;
  const auto& classes = room_.settings.smtputf8_autodetect_classes;
  const bool is_detected = std::ranges::any_of(classes, [&](const std::string& name) {
    return equal_nocase(name, "all") || equal_nocase(name, class_of(envelope_.origin));
  });
  return is_detected ? static_cast<std::uint8_t>(bits | queuefile::kUtf8Requested)
                     : envelope_.smtputf8;
}

loop::Task<ipc::cleanup::Outcome> Intake::complete(bool is_hold, ipc::cleanup::End end) {
  if (failure_.reply_code != 0) co_return failure_;
  if (!in_body_) {
    using State = mail::HeaderScanner::State;
    if (scanner_.scan(head_, true) == State::kTooLong) {
      co_return refuse(552, "5.3.4", "Error: message header too large");
    }
    co_await leave_header();
  }
  if (checks_body_ && failure_.reply_code == 0) {
    auto rest = co_await checks_->finish_body();
    if (!is_unchecked(rest)) append_body(*std::move(rest));
    judge();
    judge_structure();
  }
  if (failure_.reply_code != 0) co_return failure_;
  if (checks_) {
    Effects& effects = checks_->effects();
    is_hold = is_hold || effects.is_held;
    end.is_discard = end.is_discard || effects.is_discarded;
    if (!effects.filter.empty()) end.filter = std::move(effects.filter);
    if (!effects.redirect.empty()) end.redirect = std::move(effects.redirect);
    for (auto& address : std::exchange(effects.bcc, {})) end.bcc.push_back(std::move(address));
  }

  HeaderContext context;
  context.is_local = envelope_.rewrite_context == "local";
  context.sender = envelope_.sender;
  const std::string full_name = attribute("full_name");
  context.full_name = full_name;
  context.queue_id = queue_id_;
  context.arrival = arrival_;
  context.is_rewritten = !room_.settings.header.rewrite.remote_header_rewrite_domain.empty();
  AddressMap map;
  if (room_.settings.has_header_maps && maps_addresses()) {
    auto mapped =
        co_await map_header(room_.tables, header_addresses(room_.settings.header, context, head_),
                            room_.settings.service);
    if (!mapped) {
      log::warning("{}: {}", queue_id_, mapped.error().text);
      co_return refuse(451, "4.3.0", "Temporary lookup failure");
    }
    map = *std::move(mapped);
    context.map = &map;
  }
  HeaderResult header = pass_header(room_.settings.header, context, head_);
  log_id(header);
  if (wants_verdicts()) {
    ipc::cleanup::Outcome outcome;
    const bool goes_on = co_await authenticate(header.header, is_hold, outcome);
    if (!goes_on) co_return outcome;
  }
  if (milters_ != nullptr && (checks_ == nullptr || !checks_->effects().is_over)) {
    ipc::cleanup::Outcome outcome;
    const bool goes_on = co_await run_milters(header.header, is_hold, outcome);
    if (!goes_on) co_return outcome;
    if (checks_ != nullptr) {
      Effects& effects = checks_->effects();
      judge();
      if (failure_.reply_code != 0) co_return failure_;
      is_hold = is_hold || effects.is_held;
      end.is_discard = end.is_discard || effects.is_discarded;
      if (!effects.filter.empty()) end.filter = std::move(effects.filter);
      if (!effects.redirect.empty()) end.redirect = std::move(effects.redirect);
      for (auto& address : effects.bcc) end.bcc.push_back(std::move(address));
    }
  }
  if (wants_signature()) {
    ipc::cleanup::Outcome outcome;
    const bool goes_on = co_await sign(header.header, outcome);
    if (!goes_on) co_return outcome;
  }
  // What is returned with its header as it is is not refused a second time.
  const bool is_refused = !attribute(queuefile::kRefused).empty();
  if (header.hops >= room_.settings.hopcount_limit && !is_refused) {
    log::warning("{}: message rejected: hopcount exceeded", queue_id_);
    fail_with(554, "5.4.0", "Error: too many hops", true);
    co_return failure_;
  }
  if (end.is_discard) {
    // Its file, if there is one, has never been committed and goes with this object.
    ipc::cleanup::Outcome discarded;
    discarded.queue_id = queue_id_;
    discarded.is_accepted = true;
    co_return discarded;
  }
  queuefile::Amendment amendment;
  if (const auto amended = co_await amend(std::move(end), amendment); !amended) {
    log::warning("{}: {}", queue_id_, amended.error().text);
    co_return refuse(451, "4.3.0", "Temporary lookup failure");
  }
  const bool has_more_recipients = !amendment.recipients.empty();
  if (is_declared_8bit_ || (has_parts_ && is_8bit_)) {
    amendment.attributes.emplace_back("encoding", "8bit");
  } else if (converts() && !is_8bit_ && envelope_.encoding == queuefile::ContentEncoding::k8bit) {
    amendment.attributes.emplace_back("encoding", "7bit");
  }
  if (!converted_top_.empty()) {
    amendment.attributes.emplace_back(mailauth::kConvertedTop, std::move(converted_top_));
  }
  if (room_.settings.tls_required_enable && asks_for_no_tls(header.header)) {
    amendment.attributes.emplace_back(queuefile::kTlsOptional, "1");
  }
  if (room_.settings.requiretls_esmtp_header && attribute(queuefile::kRequireTls).empty() &&
      asks_for_tls(header.header)) {
    amendment.attributes.emplace_back(queuefile::kRequireTls, "1");
  }
  if (const std::uint8_t bits = smtputf8_bits(header.header); bits != envelope_.smtputf8) {
    amendment.attributes.emplace_back("smtputf8", std::to_string(bits));
  }
  size_ = header.header.size() + 1 + writer_->body_size();
  writer_->finish(header.header, size_, amendment.empty() ? nullptr : &amendment);
  // postconf(5) message_size_limit: with envelope and what is added to the header.
  if (room_.settings.message_size_limit > 0 &&
      writer_->size() > room_.settings.message_size_limit && !is_internal() && !is_refused) {
    co_return refuse(552, "5.3.4", "Error: message file too big");
  }

  const auto queue = is_hold ? queuefile::Queue::kHold : queuefile::Queue::kIncoming;
  if (file_ == nullptr) {
    file_ = std::make_unique<QueueFile>(room_.dirs, queue, queue_id_);
  }
  const std::string rest = writer_->take();
  QueueFile* file = file_.get();
  const bool is_move = is_hold && writer_->written() > rest.size();
  const queuefile::QueueDirs& dirs = room_.dirs;
  const Result<void> committed = co_await room_.commits.run(
      [file, &rest, is_move, &dirs, this]() -> Result<void> {
        DO(file->write(rest));
        // Into hold/ before the flush, never after.
        if (is_move) {
          TRY(const bool moved,
              dirs.move(queuefile::Queue::kIncoming, queuefile::Queue::kHold, queue_id_));
          if (!moved) return fail_temporary("queue file is gone");
        }
        return file->seal();
      },
      [file]() -> Result<void> { return file->commit(); });
  if (!committed) {
    log::error("{}: {}", queue_id_, committed.error().text);
    if (file_->is_disk_full()) co_return refuse(452, "4.3.1", "Insufficient system storage");
    co_return refuse(451, "4.3.0", "Error: queue file write error");
  }
  if (const std::string refusal = attribute(queuefile::kRefused); !refusal.empty()) {
    log_refusal(refusal);
  }
  // With recipients that only the file has, qmgr reads that.
  if (has_more_recipients) envelope_.recipients.clear();
  if (!is_hold) tell_qmgr();
  ipc::cleanup::Outcome outcome;
  outcome.queue_id = queue_id_;
  outcome.is_accepted = true;
  co_return outcome;
}

void Intake::log_refusal(std::string_view refusal) const {
  const auto [status, text] = split_at_first(refusal, ' ');
  const auto age = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::system_clock::now() - arrival_);
  for (const auto& recipient : envelope_.recipients) {
    const std::string shown = mail::quote_address(recipient.address);
    const std::string orig_to = mail::quote_address(recipient.orig_to);
    log::delivered({.queue_id = queue_id_,
                    .recipient = shown,
                    .orig_to = equal_nocase(orig_to, shown) ? std::string_view{} : orig_to,
                    .relay = "none",
                    .delays = {.before_queue = std::max(age, std::chrono::microseconds(0))},
                    .dsn = status,
                    .status = "bounced",
                    .text = log::clean(text, kMaxLoggedText)});
  }
}

// A notice that cannot be sent costs delay, not mail: qmgr scans.
void Intake::tell_qmgr() const {
  queuefile::Envelope brief;
  brief.sender = envelope_.sender;
  brief.arrival = envelope_.arrival;
  brief.client.address = envelope_.client.address;
  brief.dsn_envid = envelope_.dsn_envid;
  brief.dsn_ret = envelope_.dsn_ret;
  brief.flags = envelope_.flags;
  brief.origin = envelope_.origin;
  brief.content_filter = envelope_.content_filter;
  brief.redirect = envelope_.redirect;
  brief.verp_delims = envelope_.verp_delims;
  brief.recipients = envelope_.recipients;
  for (const auto& attribute : envelope_.attributes) {
    if (attribute.first == queuefile::kAliasExpanded || attribute.first == queuefile::kRefused) {
      brief.attributes.push_back(attribute);
    }
  }
  ipc::qmgr::NewMessage notice;
  notice.queue_id = queue_id_;
  notice.message_size = static_cast<std::int64_t>(size_);
  for (const auto& recipient : envelope_.recipients) {
    notice.state_offsets.push_back(static_cast<std::int64_t>(recipient.state_offset));
  }
  queuefile::append_envelope(notice.envelope, brief);
  room_.qmgr.notify(notice);
}

}  // namespace postern::cleanup
