// intake_content.cpp - header and body on their way into the queue file.

#include "cleanup/intake.h"

#include <fmt/format.h>

#include <algorithm>

#include "cleanup/tls_wishes.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"

namespace postern::cleanup {

namespace {

// Large content goes to the file in pieces of this size: one trip to the worker pool each.
constexpr std::size_t kPiece = std::size_t{256} << 10;

// A body of this size is kept for milters, too; larger ones are read from the file.
constexpr std::size_t kMaxCopy = std::size_t{128} << 10;

constexpr std::size_t kMaxLoggedLine = 200;

}  // namespace

void Intake::log_id(const HeaderResult& header) const {
  log::message_id(queue_id_, header.message_id.empty() ? "<>" : header.message_id,
                  header.is_resent_id);
}

loop::Task<void> Intake::begin_body() {
  filter_characters(head_);
  if (mail::is_mailbox_from_line(head_)) head_ = mail::with_mailbox_fields(head_);
  if (wants_verdicts()) received_header_ = head_;
  if ((wanted_verdicts_ & ipc::mailauth::kForged) != 0) remove_forged_results();
  std::string block = prepend_ + trace() + "\n";
  if (room_.settings.requiretls_esmtp_header && !attribute(queuefile::kRequireTls).empty() &&
      !asks_for_tls(head_)) {
    block.insert(0, fmt::format("{}: yes\n", kRequireTlsField));
  }
  for (const auto& field : mail::split_header(head_)) {
    note_encoding(field);
    auto text = field.raw.substr(
        0, mail::kept_size(field.raw, room_.settings.checks.mime.header_size_limit));
    // Cut behind the end of a line, it would be the end of the header.
    while (text.ends_with('\n')) text.remove_suffix(1);
    block += text;
    block += '\n';
  }
  head_ = std::move(block);
  const CheckSettings& settings = room_.settings.checks;
  const bool has_checks = is_checked() && (settings.has_header_checks() || settings.needs_body());
  if (!has_checks && !converts()) co_return;
  const auto scope =
      has_checks ? ContentChecks::Scope::kAll : ContentChecks::Scope::kConversionOnly;
  checks_ = std::make_unique<ContentChecks>(settings, room_.tables, queue_id_, about(), scope);
  // What checks see is what goes into the queue.
  if (converts()) head_ = checks_->start_conversion(head_);
  if (has_checks && settings.has_header_checks()) {
    auto checked = co_await checks_->check_header(head_);
    if (is_unchecked(checked)) co_return;
    head_ = *std::move(checked);
    judge();
  }
  checks_body_ = converts() || settings.needs_body();
  if (checks_body_ && !converts()) checks_->start_body(head_);
}

// What is said of the content is what counts for the next server: a client that announced nothing,
// and a header that declares nothing, leave it at that, whatever the content is. Of content in
// parts, which may declare it each for themselves, it is looked at.
void Intake::note_encoding(const mail::HeaderField& field) {
  if (!room_.settings.detects_8bit) return;
  if (equal_nocase(field.name, "Content-Transfer-Encoding")) {
    const std::string_view value = trim(field.body);
    const bool is_8bit = equal_nocase(value, "8bit") || equal_nocase(value, "binary");
    if (is_8bit && !converts()) is_declared_8bit_ = true;
  } else if (equal_nocase(field.name, "Content-Type")) {
    const auto kind = mail::parse_content_type(field.body).kind;
    using Kind = mail::ContentType::Kind;
    has_parts_ = has_parts_ || kind == Kind::kMultipart || kind == Kind::kMessage;
  }
}

// Before a conversion makes harmless text of them.
void Intake::filter_characters(std::string& content) {
  const CheckSettings& settings = room_.settings.checks;
  if (!is_checked()) return;
  const std::size_t bad = settings.message_reject_characters.empty()
                              ? std::string::npos
                              : content.find_first_of(settings.message_reject_characters);
  if (bad != std::string::npos && failure_.reply_code == 0) {
    constexpr std::string_view kWhy = "disallowed character";
    const std::size_t begin = content.rfind('\n', bad) + 1;
    const std::string line = content.substr(begin, content.find('\n', bad) - begin);
    log::info("{}: reject: content {} from {}: 5.7.1 {}", queue_id_,
              log::clean(line, kMaxLoggedLine), about(), kWhy);
    fail_with(550, "5.7.1", kWhy, true);
  }
  if (settings.message_strip_characters.empty()) return;
  std::erase_if(content, [&](char c) {
    return settings.message_strip_characters.find(c) != std::string::npos;
  });
}

loop::Task<void> Intake::take_body(std::string body) {
  filter_characters(body);
  if (!checks_body_) {
    append_body(std::move(body));
    co_return;
  }
  auto checked = co_await checks_->check_body(std::move(body));
  if (is_unchecked(checked)) co_return;
  judge();
  append_body(*std::move(checked));
}

void Intake::append_body(std::string body) {
  const bool is_known = envelope_.encoding == queuefile::ContentEncoding::k8bit && !converts();
  if (!is_known && mail::is_8bit(body)) is_8bit_ = true;
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
    } else if (state == State::kMore) {
      scanner_.cut_field(head_, room_.settings.checks.mime.header_size_limit);
    } else {
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

}  // namespace postern::cleanup
