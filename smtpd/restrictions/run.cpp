#include "smtpd/restrictions/run.h"

#include <fmt/format.h>

#include "common/log/event.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// Restriction classes and tables that name restrictions may name each other.
constexpr unsigned kMaxDepth = 100;

}  // namespace

loop::Task<std::optional<mail::Reply>> Session::check(Stage stage) {
  RestrictionRun run(*this, stage);
  auto refusal = co_await run.run();
  if (refusal && settings_->smtpd.soft_bounce && refusal->code >= 500) {
    refusal->code -= 100;
    if (refusal->status) refusal->status->klass = 4;
  }
  co_return refusal;
}

RestrictionRun::RestrictionRun(Session& session, Stage stage) : session_(session), stage_(stage) {}

loop::Task<std::optional<mail::Reply>> RestrictionRun::run() {
  const Settings& settings = session_.settings();
  const RestrictionLists& lists = settings.restrictions;
  struct Step {
    const RestrictionList* list;
    Stage stage;
  };
  std::vector<Step> steps;
  switch (stage_) {
    case Stage::kClient:
      steps = {{&lists.client, Stage::kClient}};
      break;
    case Stage::kHelo:
      steps = {{&lists.helo, Stage::kHelo}};
      break;
    case Stage::kSender:
      steps = {{&lists.sender, Stage::kSender}};
      break;
    case Stage::kRecipient:
      if (settings.smtpd.smtpd_delay_reject) {
        steps = {{&lists.client, Stage::kClient},
                 {&lists.helo, Stage::kHelo},
                 {&lists.sender, Stage::kSender}};
      }
      if (lists.is_relay_first) steps.push_back({&lists.relay, Stage::kRecipient});
      steps.push_back({&lists.recipient, Stage::kRecipient});
      if (!lists.is_relay_first) steps.push_back({&lists.relay, Stage::kRecipient});
      break;
    case Stage::kData:
      steps = {{&lists.data, Stage::kData}};
      break;
    case Stage::kEndOfData:
      steps = {{&lists.end_of_data, Stage::kEndOfData}};
      break;
  }
  if (stage_ == Stage::kRecipient) {
    const auto resolved = co_await resolve(session_.recipient_in_check_);
    if (resolved && !resolved->is_valid) co_return smtpwire::reply_bad_recipient();
  }
  for (const Step& step : steps) {
    Verdict verdict = co_await run_list(*step.list, step.stage, 0);
    if (verdict.kind == Verdict::Kind::kRefuse) co_return std::move(verdict.reply);
  }
  if (stage_ == Stage::kRecipient && settings.smtpd.smtpd_reject_unlisted_recipient &&
      !unlisted_checked_) {
    Verdict verdict = co_await reject_unlisted_recipient();
    if (verdict.kind == Verdict::Kind::kRefuse) co_return std::move(verdict.reply);
  }
  if (stage_ == Stage::kRecipient && settings.smtpd.smtpd_reject_unlisted_sender) {
    Verdict verdict = co_await reject_unlisted_sender();
    if (verdict.kind == Verdict::Kind::kRefuse) co_return std::move(verdict.reply);
  }
  co_return std::nullopt;
}

loop::Task<Verdict> RestrictionRun::run_list(const RestrictionList& list, Stage stage,
                                             unsigned depth) {
  if (depth > kMaxDepth) {
    log::warning("restriction classes or tables name each other without end");
    co_return refuse(451, "4.3.5", {stage, "", ""}, "Server configuration error");
  }
  bool warn_only = false;
  for (const Restriction& restriction : list) {
    if (restriction.name == "warn_if_reject") {
      warn_only = true;
      continue;
    }
    Verdict verdict = co_await apply(restriction, stage, depth);
    if (verdict.kind == Verdict::Kind::kRefuse && warn_only) {
      log_line("reject_warning", verdict.reply.to_line());
    } else if (verdict.kind != Verdict::Kind::kDunno) {
      co_return verdict;
    }
    warn_only = false;
  }
  co_return Verdict::dunno();
}

void RestrictionRun::log_line(std::string_view action, std::string_view text) const {
  log::RejectLine line;
  line.action = action;
  line.where = stage_ == Stage::kRecipient ? "RCPT" : "DATA";
  line.text = text;
  const std::string client = session_.client();
  line.client = client;
  if (session_.transaction() != nullptr) line.queue_id = session_.transaction()->queue_id();
  const std::string sender = mail::quote_address(session_.sender().value_or(""));
  line.sender = sender;
  line.has_sender = session_.sender().has_value();
  const std::string recipient = mail::quote_address(session_.recipient_in_check_);
  line.recipient = recipient;
  line.has_recipient = stage_ == Stage::kRecipient;
  line.protocol = session_.protocol();
  line.helo = session_.helo();
  log::rejected(line);
}

RestrictionRun::Subject RestrictionRun::subject(Stage stage) const {
  switch (stage) {
    case Stage::kClient:
      return {stage, session_.client(), "Client host"};
    case Stage::kHelo:
      return {stage, session_.helo(), "Helo command"};
    case Stage::kSender:
      return {stage, session_.sender().value_or(""), "Sender address"};
    case Stage::kRecipient:
      return {stage, session_.recipient_in_check_, "Recipient address"};
    case Stage::kData:
      return {stage, "DATA", "Data command"};
    case Stage::kEndOfData:
      return {stage, "END-OF-MESSAGE", "End-of-data"};
  }
  return {stage, "", ""};
}

Verdict RestrictionRun::refuse(int code, std::string_view status, const Subject& subject,
                               std::string_view text) const {
  // The class of the status follows the code, which an administrator may have changed.
  auto parsed = mail::parse_status(status).value_or(mail::Status{5, 0, 0});
  parsed.klass = static_cast<unsigned>(code / 100);
  if (subject.class_name.empty()) {
    return Verdict::refuse(mail::make_reply(code, parsed, std::string(text)));
  }
  return Verdict::refuse(
      mail::make_reply(code, parsed, fmt::format("<{}>: {}", subject.name, text)));
}

loop::Task<Verdict> RestrictionRun::apply(const Restriction& restriction, Stage stage,
                                          unsigned depth) {
  const std::string& name = restriction.name;
  const auto& params = session_.settings().smtpd;
  const Subject about = subject(stage);
  if (name == "permit") co_return Verdict::permit();
  if (name == "reject") {
    co_return refuse(static_cast<int>(params.reject_code), "5.7.1", about,
                     about.class_name + " rejected: Access denied");
  }
  if (name == "defer") {
    co_return refuse(static_cast<int>(params.defer_code), "4.3.2", about,
                     about.class_name + " rejected: Try again later");
  }
  if (name == "permit_mynetworks") co_return permit_mynetworks();
  if (name == "permit_inet_interfaces") co_return permit_inet_interfaces();
  if (name == "permit_sasl_authenticated") {
    co_return session_.is_authenticated() ? Verdict::permit() : Verdict::dunno();
  }
  if (name == "permit_auth_destination" || name == "reject_unauth_destination" ||
      name == "defer_unauth_destination") {
    co_return co_await destination(name);
  }
  if (name == "check_client_access") {
    co_return co_await check_access(restriction.argument, Stage::kClient, stage, depth);
  }
  if (name == "check_helo_access") {
    co_return co_await check_access(restriction.argument, Stage::kHelo, stage, depth);
  }
  if (name == "check_sender_access") {
    co_return co_await check_access(restriction.argument, Stage::kSender, stage, depth);
  }
  if (name == "check_recipient_access") {
    co_return co_await check_access(restriction.argument, Stage::kRecipient, stage, depth);
  }
  if (name == "reject_invalid_helo_hostname" || name == "reject_invalid_hostname") {
    co_return reject_invalid_helo_hostname();
  }
  if (name == "reject_non_fqdn_helo_hostname" || name == "reject_non_fqdn_hostname") {
    co_return reject_non_fqdn_helo_hostname();
  }
  if (name == "reject_non_fqdn_sender") {
    if (!session_.sender() || session_.sender()->empty()) co_return Verdict::dunno();
    co_return reject_non_fqdn(*session_.sender(), subject(Stage::kSender));
  }
  if (name == "reject_non_fqdn_recipient") {
    co_return reject_non_fqdn(session_.recipient_in_check_, subject(Stage::kRecipient));
  }
  if (name == "reject_unlisted_recipient" || name == "check_recipient_maps") {
    unlisted_checked_ = true;
    co_return co_await reject_unlisted_recipient();
  }
  if (name == "reject_unlisted_sender") co_return co_await reject_unlisted_sender();
  if (name == "class") {
    const auto& classes = session_.settings().restrictions.classes;
    const auto found = classes.find(restriction.argument);
    if (found != classes.end()) co_return co_await run_list(found->second, stage, depth + 1);
  }
  if (name == "config_error") {
    log::warning("restriction \"{}\" cannot be used; see the warnings at start",
                 restriction.argument);
  }
  co_return refuse(451, "4.3.5", {stage, "", ""}, "Server configuration error");
}

}  // namespace postern::smtpd
