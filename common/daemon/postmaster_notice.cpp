#include "common/daemon/postmaster_notice.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/date.h"
#include "common/queuefile/envelope.h"

namespace postern::daemon {

namespace {

constexpr std::chrono::seconds kSubmitTime{100};

std::string qualified(std::string address, const std::string& domain) {
  if (address.find('@') == std::string::npos) address += "@" + domain;
  return address;
}

}  // namespace

bool wants_notice(const config::Values& values, std::string_view notify_class) {
  return std::ranges::any_of(values.list("notify_classes"), [&](const std::string& word) {
    return equal_nocase(word, notify_class);
  });
}

loop::Task<void> send_notice(ipc::CleanupClient& cleanup, config::Values values,
                             std::string subject, std::string text,
                             std::string recipient_parameter) {
  queuefile::Envelope envelope;
  const std::string host = values.text("myhostname");
  const std::string origin = values.text("myorigin");
  envelope.sender = qualified(values.text("double_bounce_sender"), host);
  envelope.origin = queuefile::Origin::kNotice;
  envelope.rewrite_context = "local";
  envelope.flags = queuefile::kFlagInternal;
  queuefile::Recipient& to = envelope.recipients.emplace_back();
  to.orig_to = values.text(recipient_parameter);
  to.address = qualified(to.orig_to, origin);
  const auto now = std::chrono::system_clock::now();
  envelope.arrival = {
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count(), 0};
  const std::string content = fmt::format(
      "Date: {}\nFrom: Mail Delivery System <MAILER-DAEMON@{}>\nTo: Postmaster <{}>\n"
      "Subject: {}\n\n{}",
      // Postfix names that one whoever gets it.
      mail::format_date(now), host,
      mail::quote_address(qualified(values.text("error_notice_recipient"), origin)), subject, text);
  ipc::SubmissionStart start;
  queuefile::append_envelope(start.envelope, envelope);
  start.is_internal = true;
  ipc::Submission submission(cleanup, std::move(start));
  const loop::Deadline deadline = loop::Clock::now() + kSubmitTime;
  const auto added = co_await submission.add(content, deadline);
  Result<ipc::cleanup::Outcome> outcome = fail_temporary("not sent");
  if (added) outcome = co_await submission.finish(deadline);
  if (outcome && outcome->is_accepted) co_return;
  log::warning("notice to the postmaster: {}", outcome ? outcome->text : outcome.error().text);
}

}  // namespace postern::daemon
