#include "smtpd/settings.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/queue.h"
#include "common/config/snapshot.h"

namespace postern::smtpd {

bool Settings::discards(std::string_view keyword) const {
  return std::find(discarded_keywords.begin(), discarded_keywords.end(), keyword) !=
         discarded_keywords.end();
}

namespace {

bool guards_relay(const RestrictionList& list) {
  return std::any_of(list.begin(), list.end(), [](const Restriction& restriction) {
    return restriction.name == "reject" || restriction.name == "defer" ||
           restriction.name == "reject_unauth_destination" ||
           restriction.name == "defer_unauth_destination";
  });
}

}  // namespace

SettingsPtr read_settings(const config::Values& values, config::Problems& problems) {
  auto settings = std::make_shared<Settings>();
  settings->smtpd = config::load<config::SmtpdParams>(values, problems);
  settings->address = config::load<config::AddressParams>(values, problems);
  const auto cleanup = config::load<config::CleanupParams>(values, problems);
  const auto queue = config::load<config::QueueParams>(values, problems);
  settings->mail_name = values.text("mail_name");
  settings->message_size_limit = static_cast<std::uint64_t>(cleanup.message_size_limit);
  settings->line_length_limit = static_cast<std::size_t>(cleanup.line_length_limit);
  settings->enable_long_queue_ids = queue.enable_long_queue_ids;
  settings->in_flow_delay = queue.in_flow_delay;
  settings->smtputf8_enable = cleanup.smtputf8_enable;
  settings->own_addresses = values.snapshot().own_addresses;
  for (const auto& word : settings->smtpd.smtpd_noop_commands) {
    settings->noop_commands.push_back(to_upper(word));
  }
  for (const auto& word : settings->smtpd.smtpd_forbidden_commands) {
    if (word.find(':') == std::string::npos) settings->forbidden_commands.push_back(to_upper(word));
  }
  for (const auto& word : settings->smtpd.smtpd_discard_ehlo_keywords) {
    settings->discarded_keywords.push_back(to_lower(word));
  }
  settings->restrictions = parse_restriction_lists(settings->smtpd, values, problems);
  settings->has_no_relay_guard = !guards_relay(settings->restrictions.relay) &&
                                 !guards_relay(settings->restrictions.recipient);
  return settings;
}

}  // namespace postern::smtpd
