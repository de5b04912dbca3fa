// verification.cpp - reject_unverified_sender and reject_unverified_recipient: whether mail for an
// address would be taken where it goes (ADDRESS_VERIFICATION_README). verify knows, or finds out.

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/ipc/verify.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/policy/probe_sender.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::verify::Status;

// For an answer beyond the time that verify waits by itself.
constexpr std::chrono::seconds kSlack{20};
constexpr std::size_t kMaxReason = 250;

}  // namespace

loop::Task<Verdict> RestrictionRun::reject_unverified(std::string address, Subject subject,
                                                      bool is_sender) {
  const auto& params = session_.settings().restrictions.verify;
  // Where the probes come from: asking about it would go round in circles.
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
  if (policy::is_probe_sender(address, params.address_verify_sender,
                              params.address_verify_sender_ttl, now.count())) {
    co_return Verdict::dunno();
  }
  ipc::verify::Ask question;
  question.address = address;
  const auto polls = std::max<std::int64_t>(1, params.address_verify_poll_count) - 1;
  question.wait = params.address_verify_poll_delay * polls;
  const auto deadline = loop::Clock::now() + question.wait + kSlack;
  const auto found = co_await session_.neighbours().verify.call(std::move(question), deadline);
  ipc::verify::Answer answer;
  answer.text = "Address verification in progress";
  if (!found) {
    log::warning("address verification service failure: {}", found.error().text);
    answer.status = Status::kUnsure;
    answer.text = "address verification service is not available";
  } else if (found->status != Status::kUnknown) {
    answer = *found;
  }
  if (answer.status == Status::kGood) co_return Verdict::dunno();
  const bool is_bad = answer.status == Status::kBad;
  const std::string_view status = is_sender ? "4.1.7" : "4.1.1";
  const std::string& own_reason = is_sender ? params.unverified_sender_reject_reason
                                            : params.unverified_recipient_reject_reason;
  const std::string reason = own_reason.empty() ? log::clean(answer.text, kMaxReason) : own_reason;
  const std::int64_t reject_code =
      is_sender ? params.unverified_sender_reject_code : params.unverified_recipient_reject_code;
  const std::int64_t defer_code =
      is_sender ? params.unverified_sender_defer_code : params.unverified_recipient_defer_code;
  const auto code = static_cast<int>(is_bad ? reject_code : defer_code);
  // Whoever may try again is not told that the address is hopeless.
  const std::string text = fmt::format("{} rejected: {} address: {}", subject.class_name,
                                       code / 100 == 5 ? "undeliverable" : "unverified", reason);
  // As nowhere else: a code of success lets the address pass, and the log tells.
  if (code / 100 == 2) {
    log_line("permit", text_of(subject, text));
    co_return Verdict::dunno();
  }
  if (is_bad) co_return refuse(code, status, subject, text);
  co_return defer_if_permit(is_sender ? params.unverified_sender_tempfail_action
                                      : params.unverified_recipient_tempfail_action,
                            code, status, subject, text);
}

}  // namespace postern::smtpd
