// spf_checks.cpp - SPF as restrictions, and what of mail authentication a message is to have at its
// end. mailauth evaluates; its trouble and that of DNS refuse nothing unless a restriction says so.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/ipc/srs.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mailauth/batv.h"
#include "common/mailauth/srs.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/server.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::mailauth::Identity;
using ipc::mailauth::Wanted;

constexpr std::chrono::seconds kAnswerTime{5};  // beyond mailauth_time_limit
constexpr std::chrono::seconds kSrsTime{20};

}  // namespace

std::int64_t Session::wanted_authentication() const {
  const auto& params = settings_->mailauth;
  std::int64_t wanted = 0;
  const auto add = [&wanted](bool is_wanted, Wanted what) {
    if (is_wanted) wanted |= what;
  };
  const auto signs = [&params](std::string_view who) {
    return params.dkim_sign_enable &&
           std::ranges::find(params.dkim_sign_clients, who) != params.dkim_sign_clients.end();
  };
  // Whoever speaks for another client (XFORWARD) has had it judged. His mail is signed only where
  // he says that it was our own.
  if (extras_ && extras_->has_forward) {
    add(extras_->forward_domain == "local" && signs("mynetworks"), Wanted::kSign);
    return wanted;
  }
  if (is_authenticated()) add(signs("sasl_authenticated"), Wanted::kSign);
  if (is_in_mynetworks()) {
    add(signs("mynetworks"), Wanted::kSign);
    return wanted;
  }
  if (!is_authenticated()) {
    add(params.smtpd_spf_enable, Wanted::kSpf);
    add(params.smtpd_dkim_verify_enable, Wanted::kDkim);
    add(params.smtpd_dmarc_enable, Wanted::kDmarc);
    add(params.smtpd_arc_verify_enable || params.arc_seal_enable, Wanted::kArc);
    add(params.arc_seal_enable, Wanted::kSeal);
  }
  const bool is_ours = params.smtpd_spf_enable || params.smtpd_dkim_verify_enable ||
                       params.smtpd_dmarc_enable || params.smtpd_arc_verify_enable ||
                       params.arc_seal_enable;
  add(is_ours, Wanted::kForged);
  return wanted;
}

loop::Task<SpfResult> RestrictionRun::find_spf(Identity identity) {
  const bool is_helo = identity == Identity::kHelo;
  const std::string sender = is_helo ? std::string() : session_.sender().value_or("");
  auto& kept = is_helo ? state().spf_of_helo : state().spf;
  if (kept && kept->sender == sender && kept->helo == session_.helo()) co_return *kept;
  ipc::mailauth::CheckSpf question;
  question.client_address = session_.client_address();
  question.helo = session_.helo();
  question.sender = sender;
  question.identity = identity;
  const auto deadline =
      loop::Clock::now() + session_.settings().mailauth.mailauth_time_limit + kAnswerTime;
  auto answer = co_await session_.neighbours().mailauth.call(std::move(question), deadline);
  SpfResult result;
  result.sender = sender;
  result.helo = session_.helo();
  if (answer) {
    result.result = std::move(answer->result);
    result.domain = std::move(answer->domain);
    result.explanation = std::move(answer->explanation);
  } else {
    log::warning("SPF: {}", answer.error().text);
    result.result = "temperror";
  }
  (is_helo ? state().spf_of_helo : state().spf) = result;
  co_return result;
}

loop::Task<Verdict> RestrictionRun::check_spf(Check check, Subject about) {
  const bool is_of_helo = check == Check::kRejectSpfHeloFail;
  if (session_.helo().empty() || (!is_of_helo && !session_.sender())) co_return Verdict::dunno();
  if (session_.is_authenticated() || session_.is_in_mynetworks()) co_return Verdict::dunno();
  const SpfResult spf = co_await find_spf(is_of_helo ? Identity::kHelo : Identity::kMailFrom);
  const bool is_fail = spf.result == "fail";
  const bool is_softfail = spf.result == "softfail";
  // The words are those of policyd-spf, which what reads the logs looks for.
  if (check == Check::kDeferSpfTemperror) {
    if (spf.result != "temperror") co_return Verdict::dunno();
    co_return defer_if_permit(
        "defer_if_permit", 451, "4.7.24", about,
        fmt::format("{} rejected: Message deferred due to: SPF temperror", about.class_name));
  }
  std::string text;
  if (is_fail && check != Check::kRejectSpfPermerror) {
    text = is_of_helo ? "SPF HELO fail - not authorized" : "SPF fail - not authorized";
    if (!spf.explanation.empty()) {
      text += fmt::format(". {} explains: {}", spf.domain, spf.explanation);
    }
  } else if (is_softfail && check == Check::kRejectSpfSoftfail) {
    text = "SPF softfail - probably not authorized";
  } else if (spf.result == "permerror" && check == Check::kRejectSpfPermerror) {
    text = "SPF permerror - the record of the domain has an error";
  } else {
    co_return Verdict::dunno();
  }
  const bool is_error = check == Check::kRejectSpfPermerror;
  co_return refuse(
      550, is_error ? "5.7.24" : "5.7.23", about,
      fmt::format("{} rejected: Message rejected due to: {}", about.class_name, log::clean(text)));
}

bool RestrictionRun::is_rewritten_sender() const {
  const auto& params = session_.settings().mailauth;
  return params.srs_enable && mailauth::is_srs_address(recipient()) &&
         equal_nocase(mail::split_address(recipient()).domain, params.srs_domain);
}

loop::Task<Verdict> RestrictionRun::check_rewritten_sender(Subject about) {
  ipc::srs::Rewrite question;
  question.direction = ipc::srs::Direction::kReverse;
  question.address = recipient();
  const auto answer =
      co_await session_.neighbours().srs.call(std::move(question), loop::Clock::now() + kSrsTime);
  if (!answer) {
    log::warning("SRS: {}", answer.error().text);
    co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  }
  if (answer->refusal.empty()) co_return Verdict::dunno();
  co_return refuse(550, "5.1.1", about,
                   fmt::format("{} rejected: {}", about.class_name, answer->refusal));
}

bool RestrictionRun::is_in_tagged_domain() const {
  const auto& params = session_.settings().mailauth;
  if (!params.batv_enable) return false;
  const std::string domain(mail::split_address(recipient()).domain);
  return std::ranges::any_of(params.batv_domains,
                             [&](const std::string& each) { return equal_nocase(each, domain); });
}

loop::Task<Verdict> RestrictionRun::reject_untagged_bounce() {
  const bool is_bounce = session_.sender() && session_.sender()->empty();
  if (!is_bounce || !has_recipient() || !is_in_tagged_domain()) co_return Verdict::dunno();
  const Subject about = subject_of(AccessBy::kRecipient);
  ipc::srs::Rewrite question;
  question.direction = ipc::srs::Direction::kUntag;
  question.address = recipient();
  if (!mailauth::is_batv_address(recipient())) {
    co_return refuse(550, "5.7.1", about,
                     about.class_name + " rejected: Bounce for mail that was not sent from here");
  }
  const auto answer =
      co_await session_.neighbours().srs.call(std::move(question), loop::Clock::now() + kSrsTime);
  if (!answer) {
    log::warning("BATV: {}", answer.error().text);
    co_return refuse(451, "4.3.0", about, "Temporary lookup failure");
  }
  if (answer->refusal.empty()) co_return Verdict::dunno();
  co_return refuse(550, "5.7.1", about,
                   about.class_name + " rejected: Bounce for mail that was not sent from here: " +
                       answer->refusal);
}

}  // namespace postern::smtpd
