// greylist.cpp - smtpd_greylist: mail of strangers is asked to come again, since much that sends
// spam never does. anvil remembers who came; log lines and replies are those of Postgrey, so that
// what reads them goes on doing so.

#include <fmt/format.h>

#include <algorithm>

#include "common/ipc/anvil.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/date.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/server.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using GreylistVerdict = ipc::anvil::GreylistVerdict;

constexpr std::chrono::seconds kAnvilTime{10};

std::string reason_of(const ipc::anvil::Greylisted& answer) {
  switch (answer.verdict) {
    case GreylistVerdict::kNew:
      return "new";
    case GreylistVerdict::kEarly:
      return fmt::format("early-retry ({}s missing)", answer.seconds);
    case GreylistVerdict::kDelayed:
      return fmt::format("triplet found, delay={}", answer.seconds);
    case GreylistVerdict::kKnown:
      return "triplet found";
    case GreylistVerdict::kAutoAllowed:
      return "client AWL";
    case GreylistVerdict::kAllowed:
      return "client whitelist";
  }
  return "";
}

}  // namespace

loop::Task<Verdict> RestrictionRun::greylist() {
  const auto& params = session_.settings().smtpd;
  if (!has_recipient() || session_.is_authenticated()) co_return Verdict::dunno();
  if (session_.has_restriction_state()) {
    if (state().is_on_allow_list) co_return Verdict::dunno();
  }
  if (session_.settings().mailauth.smtpd_spf_enable && params.smtpd_greylist_exempt_spf_pass) {
    const SpfResult spf = co_await find_spf(ipc::mailauth::Identity::kMailFrom);
    if (spf.result == "pass") co_return Verdict::dunno();
  }
  ipc::anvil::Greylist question;
  question.client = session_.client_address();
  question.sender = session_.sender().value_or("");
  question.recipient = recipient();
  question.delay = params.smtpd_greylist_delay.count();
  question.window = params.smtpd_greylist_window.count();
  question.lifetime = params.smtpd_greylist_lifetime.count();
  question.auto_allow_clients = params.smtpd_greylist_auto_allow_clients;
  question.is_asked_only = session_.server_.is_explaining();
  const auto answer = co_await session_.server_.limits().anvil().call(
      std::move(question), loop::Clock::now() + kAnvilTime);
  if (!answer) co_return config_error(fmt::format("smtpd_greylist: {}", answer.error().text));

  const bool is_held =
      answer->verdict == GreylistVerdict::kNew || answer->verdict == GreylistVerdict::kEarly;
  log::info("action={}, reason={}, client_name={}, client_address={}, sender={}, recipient={}",
            is_held ? "greylist" : "pass", reason_of(*answer), session_.client_name(),
            session_.client_address(), log::clean(session_.sender().value_or("")),
            log::clean(recipient()));
  if (is_held) {
    const Subject about = subject_of(AccessBy::kRecipient);
    co_return defer_if_permit("defer_if_permit", 450, "4.2.0", about,
                              fmt::format("{} rejected: Greylisted, try again in {} seconds",
                                          about.class_name, answer->seconds));
  }
  auto& fields = state().actions.prepend;
  const bool has_field = std::ranges::any_of(
      fields, [](const std::string& field) { return field.starts_with("X-Greylist:"); });
  if (answer->verdict == GreylistVerdict::kDelayed && !has_field &&
      fields.size() < kMaxPrependedFields) {
    fields.push_back(
        fmt::format("X-Greylist: delayed {} seconds by {} at {}; {}", answer->seconds,
                    session_.settings().mail_name,
                    session_.settings().restrictions.text_of("myhostname").value_or(""),
                    mail::format_date(std::chrono::system_clock::now())));
  }
  co_return Verdict::dunno();
}

}  // namespace postern::smtpd
