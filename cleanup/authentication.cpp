// authentication.cpp - what mailauth has to say of a message, before it is committed.
//
// It judges what was received: the header before anything was repaired, the body as it came. Its
// verdict stands above the trace field of this hop. A message that it could not judge passes with
// that noted, unless mailauth_default_action says otherwise.

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/header.h"
#include "common/mailauth/results_header.h"
#include "cleanup/intake.h"

namespace postern::cleanup {

namespace {

using ipc::mailauth::Wanted;

constexpr std::int64_t kVerdicts = Wanted::kSpf | Wanted::kDkim | Wanted::kDmarc | Wanted::kArc;
// Beyond mailauth_time_limit: for reading a large body, and for others that wait.
constexpr std::chrono::seconds kSpareTime{5};

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

loop::Task<Result<ipc::mailauth::Examined>> Intake::ask_mailauth() {
  ipc::mailauth::Examine question;
  question.queue_id = queue_id_;
  question.wanted = wanted_verdicts_ & kVerdicts;
  question.client_address = envelope_.client.address;
  question.helo = envelope_.client.helo;
  question.sender = received_sender_;
  question.header = std::move(received_header_);
  std::vector<sys::Fd> fds;
  if (is_body_in_file_) {
    if (writer_->size() > writer_->written()) co_await write_pending();
    if (failure_.reply_code != 0) co_return fail_temporary(failure_.text);
    CO_TRY(sys::Fd reader, file_->open_reader());
    fds.push_back(std::move(reader));
    question.is_body_in_file = true;
    question.body_offset = static_cast<std::int64_t>(writer_->layout().body.offset);
    question.body_length = static_cast<std::int64_t>(writer_->body_size());
  } else {
    question.body = body_copy_;
  }
  const auto deadline =
      loop::Clock::now() + room_.settings.authentication.time_limit + kSpareTime;
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
  header.insert(0, examined->fields_on_top);
  co_return true;
}

}  // namespace postern::cleanup
