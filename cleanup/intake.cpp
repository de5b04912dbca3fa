#include "cleanup/intake.h"

#include <fmt/format.h>

#include <algorithm>

#include "cleanup/rewriting.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/ipc/qmgr.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/mime.h"
#include "common/mail/received.h"
#include "common/mail/rewrite.h"
#include "common/mail/status.h"

namespace postern::cleanup {

namespace {

// Large content goes to the file in pieces of this size: one trip to the worker pool each.
constexpr std::size_t kPiece = std::size_t{256} << 10;

constexpr std::size_t kMaxMoreRecipients = 10'000;

// A body of this size is kept for milters, too; larger ones are read from the file.
constexpr std::size_t kMaxCopy = std::size_t{128} << 10;

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

// Whether the header has one field of this name, with this value; another value, or two of them,
// say nothing.
bool says(std::string_view header, std::string_view name, std::string_view value) {
  // Few messages have it: the lines are looked at before the header is taken apart.
  bool is_there = false;
  for (std::size_t at = 0; at < header.size() && !is_there;) {
    is_there = starts_with_nocase(header.substr(at), name);
    const auto end = header.find('\n', at);
    at = end == std::string_view::npos ? header.size() : end + 1;
  }
  if (!is_there) return false;
  unsigned count = 0;
  bool is_said = false;
  for (const auto& field : mail::split_header(header)) {
    if (!equal_nocase(field.name, name)) continue;
    ++count;
    is_said = equal_nocase(trim(field.body), value);
  }
  return count == 1 && is_said;
}

// RFC 8689 5, and how REQUIRETLS goes on where it is not known (requiretls_esmtp_header).
bool asks_for_no_tls(std::string_view header) { return says(header, "TLS-Required", "no"); }
constexpr std::string_view kRequireTlsField = "Require-TLS-ESMTP";
bool asks_for_tls(std::string_view header) { return says(header, kRequireTlsField, "yes"); }

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
void Intake::fail_with(int code, std::string_view status, std::string_view text) {
  if (failure_.reply_code == 0) failure_ = refuse(code, status, text);
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
    if (!is_internal()) options.bcc = std::move(mapped->bcc);
  }
  if (maps_addresses() && !is_internal() && !room_.settings.always_bcc.empty()) {
    options.bcc.insert(options.bcc.begin(), room_.settings.always_bcc);
  }
  options.skip_bcc = is_internal();
  const Result<void> rewritten =
      co_await rewrite_recipients(room_.tables, envelope_, options, &first_recipient_);
  if (!rewritten) {
    if (rewritten.error().kind == Error::Kind::kPermanent) {
      fail_with(554, "5.4.6", rewritten.error().text);
    } else {
      fail_with(451, "4.3.0", "Temporary lookup failure");
    }
    log::warning("{}: {}", queue_id_, rewritten.error().text);
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
  return !is_internal() || room_.settings.filters_bounces;
}

// Who sent what to whom, as lines about content show it.
std::string Intake::about() const {
  std::string text = envelope_.origin == queuefile::Origin::kNetwork
                         ? fmt::format("{}[{}]", envelope_.client.name, envelope_.client.address)
                         : "local";
  text += fmt::format("; from=<{}>", mail::quote_address(envelope_.sender));
  if (!first_recipient_.empty()) text += fmt::format(" to=<{}>", first_recipient_);
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
  fail_with(status.is_temporary() ? 451 : 550, status.to_string(), text);
}

void Intake::adopt(ipc::milter::Handover handover, std::vector<sys::Fd> fds) {
  if (!handover.is_given) return;
  milters_ = std::make_unique<Milters>(std::move(handover), std::move(fds));
}

loop::Task<void> Intake::begin_milters() {
  milters_ = std::make_unique<Milters>(room_.settings.non_smtpd_milters);
  milters_->set_macro("i", queue_id_);
  milters_->set_macro("j", room_.settings.header.myhostname);
  Milters::Local local;
  local.sender = envelope_.sender;
  for (const auto& recipient : envelope_.recipients) local.recipients.push_back(recipient.address);
  const auto decision = co_await milters_->begin(room_.broker, std::move(local));
  bool is_hold = false;
  ipc::cleanup::Outcome outcome;
  if (!take_decision(decision, is_hold, outcome)) {
    co_await milters_->give_up();
    failure_ = outcome;
    if (outcome.is_accepted) failure_.reply_code = 250;
  }
  is_held_by_milter_ = is_hold;
}

void Intake::log_milter(std::string_view action, std::string_view text) const {
  const std::string tail = about();
  const auto end = tail.find(';');
  log::info("{}: milter-{}: END-OF-MESSAGE from {}: {}{}", queue_id_, action, tail.substr(0, end),
            log::clean(text), tail.substr(end));
}

bool Intake::take_decision(const milter::Decision& decision, bool& is_hold,
                           ipc::cleanup::Outcome& outcome) {
  if (!decision.reply.empty()) {
    const int code =
        parse_integer<int>(std::string_view(decision.reply).substr(0, 3)).value_or(451);
    const std::string_view rest =
        decision.reply.size() > 4 ? std::string_view(decision.reply).substr(4) : std::string_view();
    const auto [status, text] = mail::status_of_reply(code, rest);
    outcome = refuse(code, status.to_string(), text);
    log_milter("reject", fmt::format("{} {}", status.to_string(), text));
    return false;
  }
  if (decision.is_discard) {
    log_milter("discard", "milter triggers DISCARD action");
    outcome.queue_id = queue_id_;
    outcome.is_accepted = true;
    return false;
  }
  if (decision.is_hold && !is_hold) {
    log_milter("hold", "milter triggers HOLD action");
    is_hold = true;
  }
  return true;
}

loop::Task<bool> Intake::run_milters(std::string& header, bool& is_hold,
                                     ipc::cleanup::Outcome& outcome) {
  is_hold = is_hold || is_held_by_milter_;
  std::vector<std::string> fields;
  for (const auto& field : mail::split_header(header)) fields.emplace_back(field.raw);
  milters_->set_macro("i", queue_id_);
  MilterSubject& subject = *this;
  const auto decision = co_await milters_->run(fields, subject);
  if (!take_decision(decision, is_hold, outcome)) co_return false;
  header.clear();
  for (const auto& field : fields) (header += field) += '\n';
  if (!state_writes_.empty() && file_ != nullptr) {
    for (const auto& state : state_writes_) {
      QueueFile* file = file_.get();
      const Result<void> marked =
          co_await room_.pool.run([file, state] { return file->mark(state); });
      if (!marked) {
        log::error("{}: {}", queue_id_, marked.error().text);
        outcome = refuse(451, "4.3.0", "Error: queue file write error");
        co_return false;
      }
    }
  }
  if (failure_.reply_code != 0) {
    outcome = failure_;
    co_return false;
  }
  co_return true;
}

loop::Task<Result<std::string>> Intake::read_body(std::uint64_t offset, std::size_t size) {
  if (!is_body_in_file_) {
    if (offset >= body_copy_.size()) co_return std::string();
    co_return body_copy_.substr(offset, size);
  }
  const std::uint64_t length = writer_->body_size();
  if (offset >= length) co_return std::string();
  if (writer_->size() > writer_->written()) co_await write_pending();
  if (failure_.reply_code != 0) co_return fail_temporary(failure_.text);
  const std::uint64_t at = writer_->layout().body.offset + offset;
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size, length - offset));
  QueueFile* file = file_.get();
  Result<std::string> text =
      co_await room_.pool.run([file, at, wanted] { return file->read(at, wanted); });
  if (text && text->empty()) co_return fail_temporary("queue file is too short");
  co_return text;
}

void Intake::restart_body() {
  writer_->restart_body();
  body_copy_.clear();
  is_body_in_file_ = false;
}

loop::Task<void> Intake::add_body(std::string text) {
  append_body(std::move(text));
  co_await write_due();
}

loop::Task<std::string> Intake::check_field(std::string field) {
  const CheckSettings& settings = room_.settings.checks;
  if (settings.milter_header_checks.empty() || !is_checked()) co_return field;
  if (checks_ == nullptr) {
    checks_ = std::make_unique<ContentChecks>(settings, room_.tables, queue_id_, about());
  }
  auto checked = co_await checks_->check_milter_header(std::move(field));
  if (is_unchecked(checked)) co_return std::string();
  std::string text = *std::move(checked);
  if (text.ends_with('\n')) text.pop_back();
  co_return text;
}

void Intake::add_recipient(std::string address) {
  if (address.empty() || more_recipients_.size() >= kMaxMoreRecipients) return;
  more_recipients_.push_back(std::move(address));
}

void Intake::delete_recipient(const std::string& address) {
  std::erase_if(more_recipients_,
                [&](const std::string& each) { return equal_nocase(each, address); });
  const std::string rewritten =
      mail::rewrite_address(room_.settings.header.rewrite, mail::RewriteContext::kLocal, address);
  std::erase_if(envelope_.recipients, [&](const queuefile::Recipient& recipient) {
    if (!equal_nocase(recipient.address, rewritten) && !equal_nocase(recipient.orig_to, address) &&
        !equal_nocase(recipient.orig_to, rewritten)) {
      return false;
    }
    if (const auto write = writer_->mark(recipient.state_offset, queuefile::State::kRemoved)) {
      state_writes_.push_back(*write);
    }
    return true;
  });
}

void Intake::change_sender(std::string address) {
  new_sender_ =
      mail::rewrite_address(room_.settings.header.rewrite, mail::RewriteContext::kLocal, address);
}

void Intake::log_id(const HeaderResult& header) const {
  log::message_id(queue_id_, header.message_id.empty() ? "<>" : header.message_id,
                  header.is_resent_id);
}

loop::Task<void> Intake::begin_body() {
  if (wants_verdicts()) received_header_ = head_;
  if ((wanted_verdicts_ & ipc::mailauth::kForged) != 0) remove_forged_results();
  std::string block = prepend_ + trace() + "\n";
  if (room_.settings.requiretls_esmtp_header && !attribute(queuefile::kRequireTls).empty() &&
      !asks_for_tls(head_)) {
    block.insert(0, fmt::format("{}: yes\n", kRequireTlsField));
  }
  for (const auto& field : mail::split_header(head_)) {
    block += field.raw.substr(0, room_.settings.checks.mime.header_size_limit);
    block += '\n';
  }
  head_ = std::move(block);
  const CheckSettings& settings = room_.settings.checks;
  if (!is_checked() || (!settings.has_header_checks() && !settings.needs_body())) co_return;
  checks_ = std::make_unique<ContentChecks>(settings, room_.tables, queue_id_, about());
  if (settings.has_header_checks()) {
    auto checked = co_await checks_->check_header(head_);
    if (is_unchecked(checked)) co_return;
    head_ = *std::move(checked);
    judge();
  }
  checks_body_ = settings.needs_body();
  if (checks_body_) checks_->start_body(head_);
}

loop::Task<void> Intake::take_body(std::string body) {
  if (!checks_body_ || checks_->effects().is_over()) {
    append_body(std::move(body));
    co_return;
  }
  auto checked = co_await checks_->check_body(std::move(body));
  if (is_unchecked(checked)) co_return;
  judge();
  append_body(*std::move(checked));
}

void Intake::append_body(std::string body) {
  const CheckSettings& settings = room_.settings.checks;
  if (!settings.message_reject_characters.empty() &&
      body.find_first_of(settings.message_reject_characters) != std::string::npos) {
    fail_with(550, "5.7.1", "disallowed character");
  }
  if (!settings.message_strip_characters.empty()) {
    std::erase_if(body, [&](char c) {
      return settings.message_strip_characters.find(c) != std::string::npos;
    });
  }
  // What the client announced counts for the file's envelope, which is composed already.
  if (envelope_.encoding != queuefile::ContentEncoding::k8bit && mail::is_8bit(body)) {
    is_8bit_ = true;
  }
  if (keeps_body() && !is_body_in_file_) {
    is_body_in_file_ = body_copy_.size() + body.size() > kMaxCopy;
    if (is_body_in_file_) {
      body_copy_ = {};
    } else {
      body_copy_ += body;
    }
  }
  writer_->append_body(body);
}

loop::Task<void> Intake::add(std::string content) {
  content_size_ += content.size();
  if (room_.settings.message_size_limit > 0 && content_size_ > room_.settings.message_size_limit) {
    fail_with(552, "5.3.4", "Error: message file too big");
  }
  if (failure_.reply_code != 0) co_return;
  // Servers differ in what a CR without LF is to them: it must not become an end of line, or of the
  // message, at the next one.
  if (room_.settings.replaces_stray_cr) {
    for (auto at = content.find('\r'); at != std::string::npos; at = content.find('\r', at + 1)) {
      content[at] = ' ';
    }
  }
  if (in_body_) {
    co_await take_body(std::move(content));
  } else {
    head_ += content;
    using State = mail::HeaderScanner::State;
    const State state = scanner_.scan(head_);
    if (state == State::kTooLong) {
      fail_with(552, "5.3.4", "Error: message header too large");
    } else if (state != State::kMore) {
      if (state == State::kNoHeader) judge_end_of_header();
      if (failure_.reply_code == 0) co_await leave_header();
    }
  }
  if (failure_.reply_code != 0) co_return;
  co_await write_due();
}

void Intake::judge_end_of_header() {
  const std::string& action = room_.settings.non_empty_end_of_header_action;
  // What has no header at all, and what we make ourselves, is another matter.
  if (action == "fix_quietly" || scanner_.header_size() == 0 || is_internal()) return;
  if (action == "reject") {
    fail_with(550, "5.5.2", "message header is not terminated by an empty line");
    return;
  }
  log::info("{}: header is not terminated by an empty line: adding one", queue_id_);
}

loop::Task<void> Intake::leave_header() {
  in_body_ = true;
  std::string body = head_.substr(scanner_.body_start());
  head_.resize(scanner_.header_size());
  co_await begin_body();
  if (failure_.reply_code == 0) co_await take_body(std::move(body));
}

loop::Task<void> Intake::write_due() {
  if (writer_ == nullptr || writer_->size() - writer_->written() < kPiece) co_return;
  co_await write_pending();
}

loop::Task<void> Intake::write_pending() {
  if (file_ == nullptr) {
    file_ = std::make_unique<QueueFile>(room_.dirs, queuefile::Queue::kIncoming, queue_id_);
  }
  const std::string piece = writer_->take();
  QueueFile* file = file_.get();
  const Result<void> written =
      co_await room_.pool.run([file, &piece] { return file->write(piece); });
  if (!written) {
    log::error("{}: {}", queue_id_, written.error().text);
    if (file_->is_disk_full()) {
      fail_with(452, "4.3.1", "Insufficient system storage");
    } else {
      fail_with(451, "4.3.0", "Error: queue file write error");
    }
  }
}

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
  if (milters_ != nullptr) {
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
  if (header.hops >= room_.settings.hopcount_limit) {
    co_return refuse(554, "5.4.0", "Error: too many hops");
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
  if (is_8bit_) amendment.attributes.emplace_back("encoding", "8bit");
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
      writer_->size() > room_.settings.message_size_limit && !is_internal()) {
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
  // With recipients that only the file has, qmgr reads that.
  if (has_more_recipients) envelope_.recipients.clear();
  if (!is_hold) tell_qmgr();
  ipc::cleanup::Outcome outcome;
  outcome.queue_id = queue_id_;
  outcome.is_accepted = true;
  co_return outcome;
}

// A notice that cannot be sent costs delay, not mail: qmgr scans.
void Intake::tell_qmgr() const {
  queuefile::Envelope brief;
  brief.sender = envelope_.sender;
  brief.arrival = envelope_.arrival;
  brief.dsn_envid = envelope_.dsn_envid;
  brief.dsn_ret = envelope_.dsn_ret;
  brief.flags = envelope_.flags;
  brief.origin = envelope_.origin;
  brief.content_filter = envelope_.content_filter;
  brief.redirect = envelope_.redirect;
  brief.verp_delims = envelope_.verp_delims;
  brief.recipients = envelope_.recipients;
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
