// sender_quota.cpp - smtpd_sender_quota: how many recipients an hour and a day those may have who
// may send through us, so that a stolen password sends no more than its owner might. anvil counts,
// over all processes.

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::anvil::QuotaVerdict;

constexpr std::chrono::seconds kTablesTime{100};

mail::Reply config_error() {
  return mail::make_reply(451, mail::Status{4, 3, 5}, "Server configuration error");
}

}  // namespace

bool Session::may_have_quota() const {
  if (server_.is_explaining()) return false;
  if (!settings_->smtpd.smtpd_sender_quota_maps.empty()) {
    return is_authenticated() || is_in_mynetworks();
  }
  return is_authenticated() && (!settings_->sender_quota || settings_->sender_quota->is_limited());
}

loop::Task<std::expected<Session::QuotaOf, mail::Reply>> Session::find_sender_quota() {
  QuotaOf result;
  // Whoever writes a name in another way is still the same.
  if (is_authenticated()) result.sender = "login:" + to_lower(sasl_username());
  const auto& tables = settings_->smtpd.smtpd_sender_quota_maps;
  if (!tables.empty()) {
    ipc::tables::Lookup question;
    question.tables = tables;
    auto& keys = question.keys;
    if (is_authenticated()) keys.push_back({sasl_username(), false});
    std::string sender = to_lower(sender_.value_or(""));
    if (!sender.empty()) {
      // What has no domain is meant to be at ours.
      if (!mail::split_address(sender).has_domain) {
        sender += "@" + to_lower(settings_->address.myorigin);
      }
      const std::string domain(mail::split_address(sender).domain);
      keys.push_back({sender, false});
      keys.push_back({"@" + domain, true});
      keys.push_back({domain, true});
    }
    if (keys.empty()) co_return result;
    const auto asked = keys;
    const auto found =
        co_await neighbours().tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("smtpd_sender_quota_maps: {}", found.error().text);
      co_return std::unexpected(
          mail::make_reply(451, mail::Status{4, 3, 0},
                           fmt::format("<{}>: Temporary lookup failure", sender_.value_or(""))));
    }
    const auto index = static_cast<std::size_t>(found->key);
    if (found->is_found && index < asked.size()) {
      const auto quota = parse_sender_quota(found->value);
      if (!quota) {
        log::warning("smtpd_sender_quota_maps: {}: {}", log::clean(asked[index].text),
                     log::clean(quota.error().text));
        co_return std::unexpected(config_error());
      }
      result.quota = *quota;
      if (!is_authenticated()) result.sender = "sender:" + asked[index].text;
      co_return result;
    }
  }
  if (!is_authenticated()) co_return result;
  // The log has said why when the configuration was read.
  if (!settings_->sender_quota) co_return std::unexpected(config_error());
  result.quota = *settings_->sender_quota;
  co_return result;
}

loop::Task<std::optional<mail::Reply>> Session::check_sender_quota() {
  const auto found = co_await find_sender_quota();
  if (!found) co_return found.error();
  if (found->sender.empty() || !found->quota.is_limited()) co_return std::nullopt;
  const bool is_held = settings_->smtpd.smtpd_sender_quota_action == "hold";
  ipc::anvil::Quota question;
  question.sender = found->sender;
  question.per_hour = found->quota.per_hour;
  question.per_day = found->quota.per_day;
  question.is_accepted_over = is_held;
  const QuotaVerdict verdict = co_await server_.limits().count_quota(std::move(question));
  if (verdict == QuotaVerdict::kWithin) co_return std::nullopt;
  const bool is_hour = verdict == QuotaVerdict::kOverHour;
  const std::string exceeded = fmt::format("quota of {} recipients {} exceeded",
                                           is_hour ? found->quota.per_hour : found->quota.per_day,
                                           is_hour ? "an hour" : "a day");
  const std::string sender = sender_.value_or("");
  if (!is_held) {
    co_return mail::make_reply(450, mail::Status{4, 7, 1},
                               fmt::format("<{}>: Sender address rejected: {}", sender, exceeded));
  }
  MessageActions& actions = restriction_state().actions;
  if (!actions.is_hold) {
    log_action("hold",
               fmt::format("<{}>: Sender address triggers HOLD action: {}", sender, exceeded),
               "RCPT", recipient_in_check_, true);
  }
  actions.is_hold = true;
  co_return std::nullopt;
}

}  // namespace postern::smtpd
