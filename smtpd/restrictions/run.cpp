#include "smtpd/restrictions/run.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "smtpd/server.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// Restriction classes and tables that name restrictions may name each other.
constexpr unsigned kMaxDepth = 100;

}  // namespace

loop::Task<std::optional<mail::Reply>> Session::check(Stage stage) {
  RestrictionRun run(*this, stage);
  co_return co_await run.run();
}

RestrictionState& Session::restriction_state() {
  if (restriction_state_ == nullptr) restriction_state_ = std::make_unique<RestrictionState>();
  return *restriction_state_;
}

const MessageActions& Session::actions() const {
  static const MessageActions kNone;
  return restriction_state_ == nullptr ? kNone : restriction_state_->actions;
}

RestrictionRun::RestrictionRun(Session& session, Stage stage) : session_(session), stage_(stage) {
  if (stage_ != Stage::kData && stage_ != Stage::kEndOfData) return;
  const Transaction* transaction = session_.transaction();
  if (transaction != nullptr && transaction->recipients() == 1) {
    only_recipient_ = transaction->envelope().recipients.front().address;
  }
  // The log line of a refusal has it, too.
  session_.recipient_in_check_ = only_recipient_;
}

RestrictionState& RestrictionRun::state() { return session_.restriction_state(); }

const std::string& RestrictionRun::recipient() const {
  return stage_ == Stage::kRecipient ? session_.recipient_in_check_ : only_recipient_;
}

std::vector<RestrictionRun::Step> RestrictionRun::steps() const {
  const Settings& settings = session_.settings();
  const RestrictionLists& lists = settings.restrictions;
  switch (stage_) {
    case Stage::kClient:
      return {{&lists.client, Stage::kClient}};
    case Stage::kHelo:
      return {{&lists.helo, Stage::kHelo}};
    case Stage::kSender:
      return {{&lists.sender, Stage::kSender}};
    case Stage::kData:
      return {{&lists.data, Stage::kData}};
    case Stage::kEndOfData:
      return {{&lists.end_of_data, Stage::kEndOfData}};
    case Stage::kEtrn:
    case Stage::kRecipient:
      break;
  }
  std::vector<Step> steps;
  if (settings.smtpd.smtpd_delay_reject) {
    steps = {{&lists.client, Stage::kClient}, {&lists.helo, Stage::kHelo}};
    if (stage_ == Stage::kRecipient) steps.push_back({&lists.sender, Stage::kSender});
  }
  if (stage_ == Stage::kEtrn) {
    steps.push_back({&lists.etrn, Stage::kEtrn});
    return steps;
  }
  if (lists.is_relay_first) steps.push_back({&lists.relay, Stage::kRecipient});
  steps.push_back({&lists.recipient, Stage::kRecipient});
  if (!lists.is_relay_first) steps.push_back({&lists.relay, Stage::kRecipient});
  return steps;
}

loop::Task<std::optional<mail::Reply>> RestrictionRun::run() {
  const Settings& settings = session_.settings();
  if (stage_ == Stage::kRecipient) {
    const auto resolved = co_await resolve(session_.recipient_in_check_);
    if (resolved && !resolved->is_valid) co_return smtpwire::reply_bad_recipient();
  }
  // A deferral that an earlier command's list asked for is still due.
  const bool is_delayed = settings.smtpd.smtpd_delay_reject;
  const bool is_message = stage_ == Stage::kData || stage_ == Stage::kEndOfData;
  if (!is_delayed && !is_message && session_.has_restriction_state()) {
    defer_if_permit_ = earlier_deferral();
  }
  steps_ = steps();
  Verdict verdict;
  for (step_ = 0; step_ < steps_.size(); ++step_) {
    const Step step = steps_[step_];
    warn_depth_ = 0;
    defer_if_reject_.reset();
    verdict = co_await run_list(*step.list, step.stage, 1);
    if (verdict.kind == Verdict::Kind::kRefuse) co_return std::move(verdict.reply);
    warn_depth_ = 0;
    const bool is_discarded = session_.actions().is_discard;
    if (step.stage == Stage::kSender && settings.smtpd.smtpd_reject_unlisted_sender &&
        !sender_checked_ && !is_discarded) {
      verdict = co_await reject_unlisted_sender();
      if (verdict.kind == Verdict::Kind::kRefuse) co_return std::move(verdict.reply);
    }
  }
  if (stage_ == Stage::kRecipient && settings.smtpd.smtpd_reject_unlisted_recipient &&
      !settings.no_unknown_recipient_checks && !recipient_checked_ &&
      !session_.actions().is_discard) {
    verdict = co_await reject_unlisted_recipient();
    if (verdict.kind == Verdict::Kind::kRefuse) co_return std::move(verdict.reply);
  }
  if (stage_ == Stage::kRecipient || stage_ == Stage::kEtrn || is_message) {
    if (defer_if_permit_) {
      co_return mail::make_reply(defer_if_permit_->code, defer_if_permit_->status,
                                 defer_if_permit_->text);
    }
  } else if (defer_if_permit_ || session_.has_restriction_state()) {
    keep_deferral();
  }
  co_return std::nullopt;
}

std::optional<Deferral> RestrictionRun::earlier_deferral() {
  switch (stage_) {
    case Stage::kHelo:
      return state().deferral_of_client;
    case Stage::kSender:
    case Stage::kEtrn:
      return state().deferral_of_helo;
    case Stage::kRecipient:
      // VRFY has no sender.
      return session_.sender() ? state().deferral_of_sender : state().deferral_of_helo;
    default:
      return std::nullopt;
  }
}

// A later command of the same kind starts from what came before it.
void RestrictionRun::keep_deferral() {
  RestrictionState& kept = state();
  if (stage_ == Stage::kClient) kept.deferral_of_client = defer_if_permit_;
  if (stage_ == Stage::kClient || stage_ == Stage::kHelo) kept.deferral_of_helo = defer_if_permit_;
  kept.deferral_of_sender = defer_if_permit_;
}

loop::Task<Verdict> RestrictionRun::run_list(const RestrictionList& list, Stage stage,
                                             unsigned depth) {
  if (depth > kMaxDepth) {
    co_return config_error("restriction classes or tables name each other without end");
  }
  Verdict verdict;
  for (const Restriction& restriction : list) {
    if (session_.actions().is_discard) break;
    current_ = &restriction;
    if (restriction.place != nullptr) place_ = &restriction;
    if (restriction.check == Check::kWarnIfReject) {
      if (warn_depth_ == 0) warn_depth_ = depth;
      continue;
    }
    verdict = co_await apply(restriction, stage, depth);
    if (session_.server_.is_explaining()) explain(restriction, verdict, depth);
    if (warn_depth_ >= depth) warn_depth_ = 0;
    if (verdict.kind != Verdict::Kind::kDunno) break;
    // Whatever comes now, the answer is a deferral.
    if (defer_if_permit_ && defer_if_reject_) break;
  }
  if (warn_depth_ >= depth) warn_depth_ = 0;
  co_return verdict;
}

void RestrictionRun::explain(const Restriction& restriction, const Verdict& verdict,
                             unsigned depth) const {
  std::string said = "-";
  if (verdict.kind == Verdict::Kind::kPermit) said = "permit";
  if (verdict.kind == Verdict::Kind::kRefuse) said = verdict.reply.to_line();
  if (verdict.kind == Verdict::Kind::kDunno && defer_if_permit_) {
    said = fmt::format("- (deferred in the end: {})", defer_if_permit_->text);
  }
  const Restriction* const written = place_ != nullptr ? place_ : &restriction;
  log::info("{}{}{}{}{}{}{}{}{}{}", kExplainMark, depth, kExplainSeparator, restriction.name,
            restriction.argument.empty() || restriction.check == Check::kClass ? "" : " ",
            restriction.check == Check::kClass ? "" : log::clean(restriction.argument),
            kExplainSeparator, log::clean(said), kExplainSeparator,
            written->place == nullptr ? "" : *written->place);
}

std::string_view RestrictionRun::where() const {
  if (stage_ == Stage::kEndOfData) return "END-OF-MESSAGE";
  return session_.where_;
}

void RestrictionRun::log_line(std::string_view action, std::string_view text) const {
  log::RejectLine line;
  line.action = action;
  line.where = where();
  const std::string shown = log::clean(text, 2000);
  line.text = shown;
  const std::string client = session_.client();
  line.client = client;
  if (session_.transaction() != nullptr) line.queue_id = session_.transaction()->queue_id();
  const std::string sender = log::clean(mail::quote_address(session_.sender().value_or("")));
  line.sender = sender;
  line.has_sender = session_.sender().has_value();
  const std::string to = log::clean(mail::quote_address(recipient()));
  line.recipient = to;
  line.has_recipient = has_recipient();
  line.protocol = session_.protocol();
  const std::string helo = log::clean(session_.helo());
  line.helo = helo;
  log::rejected(line);
}

RestrictionRun::Subject RestrictionRun::subject_of(Stage stage) const {
  if (nested_subject_ != nullptr) return *nested_subject_;
  switch (stage) {
    case Stage::kClient:
      return subject_of(AccessBy::kClient);
    case Stage::kHelo:
      return subject_of(AccessBy::kHelo);
    case Stage::kSender:
      return subject_of(AccessBy::kSender);
    case Stage::kRecipient:
      return subject_of(AccessBy::kRecipient);
    case Stage::kEtrn:
      return subject_of(AccessBy::kEtrn);
    case Stage::kData:
      return {"DATA", "Data command", AccessBy::kHelo};
    case Stage::kEndOfData:
      return {"END-OF-MESSAGE", "End-of-data", AccessBy::kHelo};
  }
  return {};
}

RestrictionRun::Subject RestrictionRun::subject_of(AccessBy by) const {
  switch (by) {
    case AccessBy::kClient:
      return {session_.client(), "Client host", by};
    case AccessBy::kReverseClient:
      return {session_.reverse_name(), "Unverified Client host", by};
    case AccessBy::kHelo:
      return {session_.helo(), "Helo command", by};
    case AccessBy::kSender:
      return {session_.sender().value_or(""), "Sender address", by};
    case AccessBy::kRecipient:
      return {recipient(), "Recipient address", by};
    case AccessBy::kEtrn:
      return {session_.recipient_in_check_, "Etrn command", by};
    case AccessBy::kSaslUser:
      return {session_.sasl_username(), "SASL login name", by};
    case AccessBy::kClientCertificate:
      return {session_.client(), "Client certificate", by};
  }
  return {};
}

std::string RestrictionRun::text_of(const Subject& subject, std::string_view text) {
  return subject.class_name.empty() ? std::string(text)
                                    : fmt::format("<{}>: {}", subject.name, text);
}

Verdict RestrictionRun::permit(std::string_view action, const Subject& subject,
                               std::string_view from) const {
  const auto& wanted = session_.settings().smtpd.smtpd_log_access_permit_actions;
  const bool is_logged = std::ranges::any_of(wanted, [&](const std::string& word) {
    return word == "static:all" || equal_nocase(word, action);
  });
  if (is_logged) {
    log_line("permit",
             fmt::format("action={} for {}={} {}", action, subject.class_name, subject.name,
                         from.empty() ? std::string() : fmt::format("from {}", from)));
  }
  return Verdict::permit();
}

Verdict RestrictionRun::refuse(int code, std::string_view status, const Subject& subject,
                               std::string_view text) {
  // The class of the status follows the code, which an administrator may have changed.
  auto parsed = mail::parse_status(status).value_or(mail::Status{5, 0, 0});
  parsed.klass = static_cast<unsigned>(code / 100);
  auto reply = mail::make_reply(code, parsed, text_of(subject, text));
  if (session_.settings().smtpd.soft_bounce && reply.code >= 500) reply = mail::softened(reply);
  if (is_warning_only()) {
    log_line("reject_warning", reply.to_line());
    return Verdict::dunno();
  }
  // An earlier failure may have kept us from permitting: that is told instead.
  if (reply.code >= 500 && defer_if_reject_) {
    return Verdict::refuse(
        mail::make_reply(defer_if_reject_->code, defer_if_reject_->status, defer_if_reject_->text));
  }
  return Verdict::refuse(std::move(reply));
}

Verdict RestrictionRun::defer_if_permit(std::string_view action, int code, std::string_view status,
                                        const Subject& subject, std::string_view text) {
  if (is_warning_only() || action == "defer") return refuse(code, status, subject, text);
  if (!defer_if_permit_) {
    auto parsed = mail::parse_status(status).value_or(mail::Status{4, 7, 0});
    parsed.klass = static_cast<unsigned>(code / 100);
    defer_if_permit_ = Deferral{code, parsed, text_of(subject, text)};
  }
  return Verdict::dunno();
}

void RestrictionRun::defer_if_reject(int code, std::string_view status, const Subject& subject,
                                     std::string_view text) {
  if (defer_if_reject_) return;
  auto parsed = mail::parse_status(status).value_or(mail::Status{4, 7, 0});
  parsed.klass = static_cast<unsigned>(code / 100);
  defer_if_reject_ = Deferral{code, parsed, text_of(subject, text)};
}

Verdict RestrictionRun::config_error(std::string_view why) {
  if (place_ != nullptr && place_->place != nullptr) {
    log::warning("{}: {}", *place_->place, log::clean(why));
  } else {
    log::warning("{}", log::clean(why));
  }
  return Verdict::refuse(
      mail::make_reply(451, mail::Status{4, 3, 5}, "Server configuration error"));
}

loop::Task<Verdict> RestrictionRun::apply(const Restriction& restriction, Stage stage,
                                          unsigned depth) {
  const auto& params = session_.settings().smtpd;
  switch (restriction.check) {
    case Check::kConfigError:
      co_return config_error(
          fmt::format("restriction \"{}\" cannot be used", restriction.argument));
    case Check::kClass: {
      const auto& classes = session_.settings().restrictions.classes;
      const auto found = classes.find(restriction.argument);
      if (found == classes.end()) {
        co_return config_error(fmt::format("no restriction class \"{}\"", restriction.argument));
      }
      co_return co_await run_list(found->second, stage, depth + 1);
    }
    case Check::kPermit:
      co_return permit(restriction.name, subject_of(stage));
    case Check::kReject: {
      const Subject about = subject_of(stage);
      co_return refuse(static_cast<int>(params.reject_code), "5.7.1", about,
                       about.class_name + " rejected: Access denied");
    }
    case Check::kDefer: {
      const Subject about = subject_of(stage);
      co_return refuse(static_cast<int>(params.defer_code), "4.3.2", about,
                       about.class_name + " rejected: Try again later");
    }
    case Check::kDeferIfPermit: {
      const Subject about = subject_of(stage);
      co_return defer_if_permit("defer_if_permit", 450, "4.7.0", about,
                                about.class_name + " rejected: defer_if_permit requested");
    }
    case Check::kDeferIfReject: {
      const Subject about = subject_of(stage);
      defer_if_reject(450, "4.7.0", about,
                      about.class_name + " rejected: defer_if_reject requested");
      co_return Verdict::dunno();
    }
    case Check::kSleep:
      co_await loop::sleep_for(restriction.pause);
      co_return Verdict::dunno();
    case Check::kWarnIfReject:
      co_return Verdict::dunno();

    case Check::kPermitMynetworks:
    case Check::kPermitInetInterfaces:
    case Check::kPermitSaslAuthenticated:
    case Check::kPermitNakedIpAddress:
    case Check::kRejectPlaintextSession:
    case Check::kRejectUnauthPipelining:
    case Check::kRejectUnknownClient:
    case Check::kRejectUnknownForwardClient:
    case Check::kRejectUnknownReverseClient:
      co_return apply_client_check(restriction, stage);

    case Check::kPermitTlsClientcerts:
    case Check::kPermitTlsAllClientcerts:
      co_return co_await permit_tls(restriction);

    case Check::kRejectInvalidHelo:
      co_return reject_invalid_helo();
    case Check::kRejectNonFqdnHelo:
      co_return reject_non_fqdn_helo();
    case Check::kRejectUnknownHelo:
      co_return co_await reject_unknown_helo();

    case Check::kPermitAuthDestination:
    case Check::kRejectUnauthDestination:
    case Check::kDeferUnauthDestination:
    case Check::kCheckRelayDomains:
      if (!has_recipient()) co_return Verdict::dunno();
      co_return co_await destination(restriction);
    case Check::kPermitMxBackup:
      if (!has_recipient()) co_return Verdict::dunno();
      co_return co_await permit_mx_backup(restriction);
    case Check::kRejectMultiRecipientBounce:
      co_return reject_multi_recipient_bounce(subject_of(stage));
    case Check::kRejectNonFqdnSender:
      if (session_.sender().value_or("").empty()) co_return Verdict::dunno();
      co_return reject_non_fqdn(*session_.sender(), subject_of(AccessBy::kSender));
    case Check::kRejectNonFqdnRecipient:
      if (!has_recipient()) co_return Verdict::dunno();
      co_return reject_non_fqdn(recipient(), subject_of(AccessBy::kRecipient));
    case Check::kRejectUnknownSenderDomain:
      if (session_.sender().value_or("").empty()) co_return Verdict::dunno();
      co_return co_await reject_unknown_domain(*session_.sender(), subject_of(AccessBy::kSender));
    case Check::kRejectUnknownRecipientDomain:
      if (!has_recipient()) co_return Verdict::dunno();
      co_return co_await reject_unknown_domain(recipient(), subject_of(AccessBy::kRecipient));
    case Check::kRejectUnlistedSender:
      co_return co_await reject_unlisted_sender();
    case Check::kRejectUnlistedRecipient:
      if (!has_recipient()) co_return Verdict::dunno();
      co_return co_await reject_unlisted_recipient();
    case Check::kRejectUnverifiedSender:
      if (session_.sender().value_or("").empty()) co_return Verdict::dunno();
      co_return co_await reject_unverified(*session_.sender(), subject_of(AccessBy::kSender), true);
    case Check::kRejectUnverifiedRecipient:
      if (!has_recipient()) co_return Verdict::dunno();
      co_return co_await reject_unverified(recipient(), subject_of(AccessBy::kRecipient), false);
    case Check::kRejectSenderLoginMismatch:
    case Check::kRejectAuthenticatedSenderLoginMismatch:
    case Check::kRejectUnauthenticatedSenderLoginMismatch:
    case Check::kRejectKnownSenderLoginMismatch:
      co_return co_await sender_login(restriction);

    case Check::kAccess:
      if (restriction.via != AccessVia::kItself) {
        co_return co_await check_host_access(restriction, stage, depth);
      }
      co_return co_await check_access(restriction, stage, depth);
    case Check::kDnsList:
      co_return co_await check_dns_list(restriction);
    case Check::kPolicyService:
      co_return co_await check_policy_service(restriction, stage, depth);
    case Check::kGreylist:
      co_return co_await greylist();
    case Check::kRejectUntaggedBounce:
      co_return co_await reject_untagged_bounce();
    case Check::kRejectSpfFail:
    case Check::kRejectSpfSoftfail:
    case Check::kRejectSpfPermerror:
    case Check::kRejectSpfHeloFail:
    case Check::kDeferSpfTemperror:
      co_return co_await check_spf(restriction.check, subject_of(stage));
  }
  co_return Verdict::dunno();
}

}  // namespace postern::smtpd
