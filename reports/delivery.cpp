#include "reports/delivery.h"

#include <fmt/format.h>

#include "common/ipc/mailauth.h"
#include "common/log/clean.h"
#include "common/queuefile/envelope.h"

namespace postern::reports {

namespace {

constexpr std::chrono::seconds kSubmitTime{100};
constexpr std::chrono::seconds kPostTime{180};

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

loop::Task<Handed> Delivery::hand_over(const Report& report, mail::ReportAddress address) {
  Handed handed;
  if (address.max_size > 0 && report.bytes.size() > address.max_size) {
    handed.is_final = true;
    handed.remark = fmt::format("{}: the report has {} bytes, {} are wanted at most",
                                address.target, report.bytes.size(), address.max_size);
    co_return handed;
  }
  if (address.kind == mail::ReportAddress::Kind::kHttps) {
    handed = co_await post(report, address.target);
  } else {
    handed = co_await mail(report, address.target);
  }
  handed.remark = address.target + ": " + log::clean(handed.remark);
  co_return handed;
}

loop::Task<Handed> Delivery::mail(const Report& report, std::string recipient) {
  queuefile::Envelope envelope;
  envelope.sender = settings_.envelope_sender;
  envelope.origin = queuefile::Origin::kNotice;
  envelope.rewrite_context = "local";
  envelope.flags = queuefile::kFlagInternal;
  if (report.is_tls) {
    envelope.attributes.emplace_back(queuefile::kTlsOptional, "1");
    envelope.attributes.emplace_back(queuefile::kNoTlsReport, "1");
  }
  if (settings_.is_signed) {
    envelope.attributes.emplace_back(ipc::mailauth::kAttribute,
                                     std::to_string(ipc::mailauth::kSign));
  }
  queuefile::Recipient& to = envelope.recipients.emplace_back();
  to.address = recipient;
  to.orig_to = recipient;
  envelope.arrival = {now_seconds(), 0};
  ipc::SubmissionStart start;
  queuefile::append_envelope(start.envelope, envelope);
  start.is_internal = true;
  const std::string content = compose_mail(report, settings_.submitter, recipient, now_seconds());
  ipc::Submission submission(cleanup_, std::move(start));
  const loop::Deadline deadline = loop::Clock::now() + kSubmitTime;
  const auto added = co_await submission.add(content, deadline);
  Result<ipc::cleanup::Outcome> outcome = fail_temporary("not sent");
  if (added) outcome = co_await submission.finish(deadline);
  Handed handed;
  if (!outcome) {
    handed.remark = outcome.error().text;
  } else if (!outcome->is_accepted) {
    handed.remark = outcome->text;
    handed.is_final = outcome->reply_code >= 500;
  } else {
    handed.is_accepted = true;
    handed.remark = "queued as " + outcome->queue_id;
  }
  co_return handed;
}

loop::Task<Handed> Delivery::post(const Report& report, std::string url) {
  ipc::sts::Post request;
  request.url = std::move(url);
  request.content_type = report.media_type;
  request.body = report.bytes;
  const auto posted = co_await sts_.call(std::move(request), loop::Clock::now() + kPostTime);
  Handed handed;
  if (!posted) {
    handed.remark = posted.error().text;
    co_return handed;
  }
  handed.is_accepted = posted->status >= 200 && posted->status < 300;
  handed.is_final = posted->status >= 400 && posted->status < 500;
  handed.remark = fmt::format("HTTP status {}", posted->status);
  co_return handed;
}

}  // namespace postern::reports
