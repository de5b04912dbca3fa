// intake_milters.cpp - the milters of a message, and what they change.

#include "cleanup/intake.h"

#include <fmt/format.h>

#include <algorithm>

#include "cleanup/rewriting.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/rewrite.h"
#include "common/mail/status.h"

namespace postern::cleanup {

namespace {

constexpr std::size_t kMaxMoreRecipients = 10'000;

}  // namespace

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
  if (!take_decision(decision, is_hold, outcome, milters_->step())) {
    co_await milters_->give_up();
    failure_ = outcome;
    if (outcome.is_accepted) failure_.reply_code = 250;
  }
  is_held_by_milter_ = is_hold;
}

void Intake::log_milter(std::string_view action, std::string_view text,
                        std::string_view where) const {
  const std::string tail = about();
  const auto end = tail.find(';');
  // To milters mail that comes from no client comes from this machine.
  const std::string_view client = envelope_.origin == queuefile::Origin::kNetwork
                                      ? std::string_view(tail).substr(0, end)
                                      : "localhost[127.0.0.1]";
  std::string_view rest = std::string_view(tail).substr(end);
  if (where == "MAIL") rest = rest.substr(0, rest.find(" to="));
  log::info("{}: milter-{}: {} from {}: {}{}", queue_id_, action, where, client, log::clean(text),
            rest);
}

bool Intake::take_decision(const milter::Decision& decision, bool& is_hold,
                           ipc::cleanup::Outcome& outcome, std::string_view where) {
  if (!decision.reply.empty()) {
    const int code =
        parse_integer<int>(std::string_view(decision.reply).substr(0, 3)).value_or(451);
    const std::string_view rest =
        decision.reply.size() > 4 ? std::string_view(decision.reply).substr(4) : std::string_view();
    const auto [status, text] = mail::status_of_reply(code, rest);
    outcome = refuse(code, status.to_string(), text);
    outcome.is_logged = true;
    log_milter("reject", fmt::format("{} {}", status.to_string(), text), where);
    return false;
  }
  if (decision.is_discard) {
    log_milter("discard", "milter triggers DISCARD action", where);
    outcome.queue_id = queue_id_;
    outcome.is_accepted = true;
    return false;
  }
  if (decision.is_hold && !is_hold) {
    log_milter("hold", "milter triggers HOLD action", where);
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

}  // namespace postern::cleanup
