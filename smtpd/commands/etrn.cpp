// etrn.cpp - ETRN (RFC 1985): a site asks for the mail that waits for it.

#include <fmt/format.h>

#include "common/ipc/flush.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kFlushTime{100};

}  // namespace

loop::Task<mail::Reply> Session::etrn_command(const smtpwire::CommandLine& command) {
  if (helo_.empty() && settings_->smtpd.smtpd_helo_required) {
    co_return mail::make_reply(503, "Error: send HELO/EHLO first");
  }
  if (sender_) co_return mail::make_reply(503, "Error: MAIL transaction in progress");
  auto domain = smtpwire::parse_etrn(command.argument);
  if (!domain) co_return domain.error();
  if (domain->starts_with('@') || domain->starts_with('#')) domain->erase(0, 1);

  recipient_in_check_ = *domain;
  if (auto refusal = co_await check(Stage::kEtrn)) {
    log_reject(*refusal, "ETRN");
    co_return *refusal;
  }
  ipc::flush::SendSite request;
  request.site = *domain;
  const auto sent = co_await neighbours().flush.call(request, loop::Clock::now() + kFlushTime);
  if (!sent) {
    log::warning("unable to talk to fast flush service: {}", sent.error().text);
    co_return mail::make_reply(458, "Unable to queue messages");
  }
  if (sent->status == ipc::flush::Status::kOk) co_return mail::make_reply(250, "Queuing started");
  if (sent->status == ipc::flush::Status::kDenied) {
    log::warning("reject: ETRN {}... from {}", log::clean(*domain, 100), client());
    co_return mail::make_reply(459, fmt::format("<{}>: service unavailable", *domain));
  }
  log::warning("bad ETRN {} from {}", log::clean(*domain, 100), client());
  co_return mail::make_reply(458, "Unable to queue messages");
}

}  // namespace postern::smtpd
