// mail.cpp - MAIL (RFC 5321 4.1.1.2): a transaction begins.

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/rewrite.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::size_t kMaxShownAddress = 500;

// Whether an answer could ever reach this address: the form alone is judged, no table is asked.
bool is_mailable(const std::string& address) {
  if (address.empty()) return true;
  mail::ResolveRules rules;
  const auto form =
      mail::resolve_form(rules, address, [](const std::string&) -> Result<bool> { return false; });
  return form && !form->is_error;
}

}  // namespace

smtpwire::Extensions Session::extensions() const {
  smtpwire::Extensions extensions;
  extensions.smtputf8 = settings_->smtputf8_enable && !discards(kEhloSmtputf8);
  extensions.dsn = !discards(kEhloDsn);
  extensions.auth = settings_->login.is_enabled;
  extensions.requiretls = offers_require_tls() && !discards(kEhloRequireTls);
  extensions.verp = may_xverp_;
  extensions.verp_delimiter_filter = settings_->verp_delimiter_filter;
  extensions.default_verp_delimiters = settings_->default_verp_delimiters;
  extensions.strict_rfc821_envelopes = settings_->smtpd.strict_rfc821_envelopes;
  return extensions;
}

// strict_smtputf8
std::optional<mail::Reply> Session::undeclared_utf8(std::string_view address,
                                                    bool is_declared) const {
  if (!settings_->strict_smtputf8 || is_declared || is_all_ascii(address)) return std::nullopt;
  return mail::make_reply(553, "5.6.7 Must declare SMTPUTF8 to send unicode address");
}

// Log readers count it.
void Session::warn_of_address(std::string_view argument, const mail::Reply& refusal) const {
  const std::string line = refusal.to_line();
  const bool is_about_it = line.starts_with("501 5.1.3") || line.starts_with("501 5.1.7");
  if (!is_about_it || server_.is_explaining()) return;
  if (where_ != "VRFY") {  // FROM: or TO: before it, and parameters behind
    argument.remove_prefix(std::min(argument.find(':') + 1, argument.size()));
    argument = trim(argument);
    const std::size_t end = argument.rfind('>');
    argument =
        end == std::string_view::npos ? next_word(argument, kBlanks) : argument.substr(0, end + 1);
  }
  log::warning("Illegal address syntax from {} in {} command: {}", client(), where_,
               log::clean(argument, kMaxShownAddress));
}

loop::Task<mail::Reply> Session::mail_command(const smtpwire::CommandLine& command) {
  if (helo_.empty() && settings_->smtpd.smtpd_helo_required) {
    co_return mail::make_reply(503, "5.5.1 Error: send HELO/EHLO first");
  }
  if (sender_) co_return mail::make_reply(503, "5.5.1 Error: nested MAIL command");
  if (in_bdat()) co_return mail::make_reply(503, "5.5.1 Error: MAIL after BDAT");
  auto parsed = smtpwire::parse_mail(command.argument, extensions());
  if (!parsed) {
    warn_of_address(command.argument, parsed.error());
    co_return parsed.error();
  }
  if (parsed->auth && !may_log_in()) {
    co_return mail::make_reply(503, "5.5.4 Error: authentication disabled");
  }
  if (auto refusal = co_await count(ipc::anvil::Event::kMessage)) co_return *refusal;
  if (settings_->message_size_limit > 0 && parsed->size &&
      *parsed->size > settings_->message_size_limit) {
    const auto too_big = mail::make_reply(552, "5.3.4 Message size exceeds fixed limit");
    sender_ = parsed->sender.address;
    log_reject(too_big, "MAIL");
    sender_.reset();
    co_return too_big;
  }
  const auto& pressure = neighbours().cleanup.pressure();
  if (pressure.is_disk_full || (parsed->size && pressure.free_bytes > 0 &&
                                *parsed->size > static_cast<std::uint64_t>(pressure.free_bytes))) {
    const auto full = mail::make_reply(452, "4.3.1 Insufficient system storage");
    log_reject(full, "MAIL");
    co_return full;
  }
  if (!is_mailable(parsed->sender.address)) {
    warn_of_address(command.argument, smtpwire::reply_bad_sender());
    co_return smtpwire::reply_bad_sender();
  }
  if (auto refusal = undeclared_utf8(parsed->sender.address, parsed->smtputf8)) co_return *refusal;
  sender_ = parsed->sender.address;
  if (parsed->auth && *parsed->auth != "<>") extras().login_sender = xtext_encode(*parsed->auth);
  if (!settings_->smtpd.smtpd_delay_reject) {
    const auto refusal = co_await check(Stage::kSender);
    if (refusal) {
      log_reject(*refusal, "MAIL");
      reset();
      co_return *refusal;
    }
  }
  if (auto refusal = co_await milter_mail(std::string(command.argument))) {
    reset();
    co_return *refusal;
  }
  // Mail goes out first: a client that waits here leaves the disk to the deliveries.
  if (pressure.is_intake_slow && settings_->in_flow_delay.count() > 0) {
    co_await loop::sleep_for(settings_->in_flow_delay);
  }
  mail_arguments_ = std::make_unique<smtpwire::MailArguments>(*std::move(parsed));
  if (!settings_->smtpd.smtpd_delay_open_until_valid_rcpt) {
    const bool is_local = co_await is_local_client();
    begin_transaction(is_local);
  }
  co_return mail::make_reply(250, "2.1.0 Ok");
}

}  // namespace postern::smtpd
