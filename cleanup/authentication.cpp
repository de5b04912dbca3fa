// authentication.cpp - what mailauth has to say of a message, before it is committed.
//
// It judges what was received: the header before anything was repaired, the body as it came. Its
// verdict stands above the trace field of this hop. A message that it could not judge passes with
// that noted, unless mailauth_default_action says otherwise. What is ours is signed last, when
// nothing changes it any more.

#include <algorithm>

#include "cleanup/intake.h"
#include "common/base/text.h"
#include "common/ipc/srs.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "common/mailauth/batv.h"
#include "common/mailauth/converted_top.h"
#include "common/mailauth/results_header.h"
#include "common/mailauth/srs.h"

namespace postern::cleanup {

namespace {

using ipc::mailauth::Wanted;

constexpr std::int64_t kVerdicts = Wanted::kSpf | Wanted::kDkim | Wanted::kDmarc | Wanted::kArc;
// Beyond mailauth_time_limit: for reading a large body, and for others that wait.
constexpr std::chrono::seconds kSpareTime{5};
constexpr std::chrono::seconds kSrsTime{20};

}  // namespace

bool Intake::wants_verdicts() const { return (wanted_verdicts_ & kVerdicts) != 0; }

void Intake::remove_forged_results() {
  const std::string& ours = room_.settings.authentication.authserv_id;
  std::string kept;
  for (const auto& field : mail::split_header(head_)) {
    if (equal_nocase(field.name, "Authentication-Results") &&
        mailauth::is_forged_results(field.body, ours)) {
      continue;
    }
    (kept += field.raw) += '\n';
  }
  head_ = std::move(kept);
}

std::string Intake::results_without_verdict() const {
  mailauth::ResultsHeader results(room_.settings.authentication.authserv_id);
  constexpr std::string_view kProblem = "not evaluated";
  if ((wanted_verdicts_ & (Wanted::kSpf | Wanted::kDmarc)) != 0) {
    mailauth::SpfVerdict spf;
    spf.result = mailauth::SpfResult::kTemperror;
    spf.problem = kProblem;
    results.add_spf(spf, mailauth::SpfIdentity::kMailFrom, received_sender_);
  }
  if ((wanted_verdicts_ & (Wanted::kDkim | Wanted::kDmarc)) != 0) {
    mailauth::DkimResult dkim;
    dkim.verdict = mailauth::Verdict::kTemperror;
    dkim.problem = kProblem;
    results.add_dkim(dkim);
  }
  if ((wanted_verdicts_ & Wanted::kDmarc) != 0) {
    mailauth::DmarcVerdict dmarc;
    dmarc.verdict = mailauth::Verdict::kTemperror;
    dmarc.problem = kProblem;
    results.add_dmarc(dmarc);
  }
  if ((wanted_verdicts_ & Wanted::kArc) != 0) {
    mailauth::ArcVerdict arc;
    arc.verdict = mailauth::Verdict::kTemperror;
    arc.problem = kProblem;
    results.add_arc(arc);
  }
  return "Authentication-Results: " + results.value() + "\n";
}

loop::Task<Result<ipc::mailauth::Content>> Intake::content_for_mailauth(std::string header,
                                                                        std::vector<sys::Fd>* fds) {
  ipc::mailauth::Content content;
  content.header = std::move(header);
  if (!is_body_in_file_) {
    content.body = body_copy_;
    co_return content;
  }
  if (writer_->size() > writer_->written()) co_await write_pending();
  if (failure_.reply_code != 0) co_return fail_temporary(failure_.text);
  CO_TRY(sys::Fd reader, file_->open_reader());
  fds->push_back(std::move(reader));
  content.is_body_in_file = true;
  content.body_offset = static_cast<std::int64_t>(writer_->layout().body.offset);
  content.body_length = static_cast<std::int64_t>(writer_->body_size());
  co_return content;
}

loop::Task<Result<ipc::mailauth::Examined>> Intake::ask_mailauth() {
  ipc::mailauth::Examine question;
  question.queue_id = queue_id_;
  question.wanted = wanted_verdicts_ & kVerdicts;
  question.client_address = envelope_.client.address;
  question.helo = envelope_.client.helo;
  question.sender = received_sender_;
  std::vector<sys::Fd> fds;
  CO_TRY(question.content, co_await content_for_mailauth(std::move(received_header_), &fds));
  const auto deadline = loop::Clock::now() + room_.settings.authentication.time_limit + kSpareTime;
  Result<ipc::mailauth::Examined> answer =
      co_await room_.mailauth.call(std::move(question), deadline, std::move(fds));
  co_return answer;
}

loop::Task<bool> Intake::authenticate(std::string& header, bool& is_hold,
                                      ipc::cleanup::Outcome& outcome) {
  auto examined = co_await ask_mailauth();
  if (failure_.reply_code != 0) {
    outcome = failure_;
    co_return false;
  }
  if (!examined) {
    log::warning("{}: mail authentication: {}", queue_id_, examined.error().text);
    if (room_.settings.authentication.defers_without) {
      outcome = refuse(451, "4.7.0", "Message deferred: mail authentication is not available");
      co_return false;
    }
    header.insert(0, results_without_verdict());
    co_return true;
  }
  if (examined->is_refused) {
    outcome = refuse(550, "5.7.1", examined->text);
    co_return false;
  }
  is_hold = is_hold || examined->is_held;
  arc_chain_ = std::move(examined->chain);
  header.insert(0, examined->fields_on_top);
  co_return true;
}

bool Intake::wants_signature() const {
  if ((overrides_ & ipc::cleanup::kNoMilters) != 0) return false;
  // What goes through a content filter comes back, and is signed then.
  if (!envelope_.content_filter.empty() && (envelope_.flags & queuefile::kFlagNoFilter) == 0) {
    return false;
  }
  const bool is_sealed = (wanted_verdicts_ & Wanted::kSeal) != 0 && arc_chain_.can_be_sealed;
  return is_sealed || (wanted_verdicts_ & Wanted::kSign) != 0;
}

loop::Task<bool> Intake::sign(std::string& header, ipc::cleanup::Outcome& outcome) {
  ipc::mailauth::Sign question;
  question.queue_id = queue_id_;
  question.wanted = wanted_verdicts_ & (Wanted::kSign | Wanted::kSeal);
  question.is_8bit = is_8bit();
  question.chain = arc_chain_;
  std::vector<sys::Fd> fds;
  auto content = co_await content_for_mailauth(header, &fds);
  if (failure_.reply_code != 0) {
    outcome = failure_;
    co_return false;
  }
  Result<ipc::mailauth::Signed> answer = fail_temporary("");
  if (content) {
    question.content = *std::move(content);
    const auto deadline =
        loop::Clock::now() + room_.settings.authentication.time_limit + kSpareTime;
    answer = co_await room_.mailauth.call(std::move(question), deadline, std::move(fds));
  } else {
    answer = std::unexpected(content.error());
  }
  if (!answer) {
    log::warning("{}: signing: {}", queue_id_, answer.error().text);
    if (!room_.settings.authentication.defers_without) co_return true;
    outcome = refuse(451, "4.7.0", "Message deferred: it cannot be signed");
    co_return false;
  }
  if (!answer->converted_fields.empty()) {
    converted_top_ = mailauth::print_converted_top(answer->fields_on_top, answer->converted_fields);
  }
  header.insert(0, answer->fields_on_top);
  co_return true;
}

// Tags of our own senders: smtpd has looked at them where it was told to.
void Intake::remove_tags() {
  for (auto& recipient : envelope_.recipients) {
    auto plain = mailauth::batv_plain(recipient.address);
    const std::string domain(mail::split_address(recipient.address).domain);
    const bool is_ours =
        std::ranges::any_of(room_.settings.batv_domains,
                            [&](const std::string& each) { return equal_nocase(each, domain); });
    if (!plain || !is_ours) continue;
    if (recipient.orig_to.empty()) recipient.orig_to = recipient.address;
    recipient.address = *std::move(plain);
  }
}

loop::Task<Result<void>> Intake::restore_senders() {
  if (!room_.settings.batv_domains.empty()) remove_tags();
  const std::string& domain = room_.settings.srs_domain;
  if (domain.empty()) co_return Result<void>{};
  for (auto& recipient : envelope_.recipients) {
    if (!mailauth::is_srs_address(recipient.address) ||
        !equal_nocase(mail::split_address(recipient.address).domain, domain)) {
      continue;
    }
    ipc::srs::Rewrite request;
    request.direction = ipc::srs::Direction::kReverse;
    request.address = recipient.address;
    CO_TRY(auto restored,
           co_await room_.keyring.call(std::move(request), loop::Clock::now() + kSrsTime));
    // A forged one stays as it is, and is nobody's address.
    if (!restored.refusal.empty()) continue;
    if (recipient.orig_to.empty()) recipient.orig_to = recipient.address;
    recipient.address = std::move(restored.address);
  }
  co_return Result<void>{};
}

}  // namespace postern::cleanup
