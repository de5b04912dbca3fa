#include "smtpd/settings.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/config/endpoints.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/queue.h"
#include "common/config/snapshot.h"
#include "common/ipc/cleanup.h"

namespace postern::smtpd {

namespace {

struct NamedKeyword {
  std::string_view name;
  EhloKeyword bit;
};

constexpr std::array kEhloKeywords = {
    NamedKeyword{"PIPELINING", kEhloPipelining},
    NamedKeyword{"SIZE", kEhloSize},
    NamedKeyword{"VRFY", kEhloVrfy},
    NamedKeyword{"ETRN", kEhloEtrn},
    NamedKeyword{"STARTTLS", kEhloStarttls},
    NamedKeyword{"AUTH", kEhloAuth},
    NamedKeyword{"XVERP", kEhloXverp},
    NamedKeyword{"XCLIENT", kEhloXclient},
    NamedKeyword{"XFORWARD", kEhloXforward},
    NamedKeyword{"ENHANCEDSTATUSCODES", kEhloEnhancedStatusCodes},
    NamedKeyword{"8BITMIME", kEhlo8BitMime},
    NamedKeyword{"DSN", kEhloDsn},
    NamedKeyword{"SMTPUTF8", kEhloSmtputf8},
    NamedKeyword{"CHUNKING", kEhloChunking},
    NamedKeyword{"REQUIRETLS", kEhloRequireTls},
    NamedKeyword{"SILENT-DISCARD", kEhloSilentDiscard},
};

}  // namespace

EhloKeywords parse_ehlo_keywords(const std::vector<std::string>& words,
                                 std::vector<std::string>* unknown) {
  EhloKeywords keywords = 0;
  for (const auto& word : words) {
    const auto* const found =
        std::find_if(kEhloKeywords.begin(), kEhloKeywords.end(), [&](const NamedKeyword& known) {
          return equal_nocase(word, known.name) ||
                 (known.bit == kEhloXverp && equal_nocase(word, "VERP"));
        });
    if (found != kEhloKeywords.end()) {
      keywords |= found->bit;
    } else if (unknown != nullptr) {
      unknown->push_back(word);
    }
  }
  return keywords;
}

std::string print_ehlo_keywords(EhloKeywords keywords) {
  std::string text;
  for (const auto& known : kEhloKeywords) {
    if ((keywords & known.bit) == 0) continue;
    if (!text.empty()) text += ' ';
    text += known.name;
  }
  return text;
}

SettingsPtr read_settings(const config::Values& values, config::Problems& problems) {
  auto settings = std::make_shared<Settings>();
  settings->smtpd = config::load<config::SmtpdParams>(values, problems);
  settings->address = config::load<config::AddressParams>(values, problems);
  settings->mailauth = config::load<config::MailauthParams>(values, problems);
  const auto cleanup = config::load<config::CleanupParams>(values, problems);
  const auto queue = config::load<config::QueueParams>(values, problems);
  settings->mail_name = values.text("mail_name");
  settings->message_size_limit = static_cast<std::uint64_t>(cleanup.message_size_limit);
  settings->replaces_stray_cr = cleanup.cleanup_replace_stray_cr_lf;
  settings->line_length_limit = static_cast<std::size_t>(cleanup.line_length_limit);
  settings->enable_long_queue_ids = queue.enable_long_queue_ids;
  settings->in_flow_delay = queue.in_flow_delay;
  settings->content_filter = cleanup.content_filter;
  const auto& overrides = cleanup.receive_override_options;
  settings->cleanup_overrides = ipc::cleanup::parse_overrides(overrides);
  settings->no_unknown_recipient_checks =
      std::find(overrides.begin(), overrides.end(), "no_unknown_recipient_checks") !=
      overrides.end();
  if (!settings->smtpd.smtpd_proxy_filter.empty()) {
    auto endpoint = config::canonical_endpoint(settings->smtpd.smtpd_proxy_filter);
    if (endpoint) {
      auto& proxy = settings->proxy_filter;
      proxy.number = config::endpoint_number(*endpoint);
      proxy.endpoint = *std::move(endpoint);
      proxy.ehlo = settings->smtpd.smtpd_proxy_ehlo;
      proxy.timeout = settings->smtpd.smtpd_proxy_timeout;
      const auto& options = settings->smtpd.smtpd_proxy_options;
      proxy.is_late = std::find(options.begin(), options.end(), "speed_adjust") != options.end();
      settings->content_filter.clear();
    } else {
      problems.push_back(values.problem("smtpd_proxy_filter", endpoint.error().text));
    }
  }
  if ((settings->cleanup_overrides & ipc::cleanup::kNoMilters) == 0) {
    settings->milters = milter::read_list(values, "smtpd_milters", problems);
    settings->smtpd_milter_maps = values.list("smtpd_milter_maps");
  }
  settings->login = read_login_settings(values, problems);
  settings->smtputf8_enable = cleanup.smtputf8_enable;
  settings->strict_smtputf8 = cleanup.smtputf8_enable && cleanup.strict_smtputf8;
  settings->own_addresses = values.snapshot().own_addresses;
  for (const auto& word : settings->smtpd.smtpd_noop_commands) {
    settings->noop_commands.push_back(to_upper(word));
  }
  for (const auto& word : settings->smtpd.smtpd_forbidden_commands) {
    const bool is_table = word.find(':') != std::string::npos;
    settings->forbidden_commands.push_back({is_table ? word : to_upper(word), is_table});
  }
  std::vector<std::string> unknown;
  settings->discarded_keywords =
      parse_ehlo_keywords(settings->smtpd.smtpd_discard_ehlo_keywords, &unknown);
  for (const auto& word : unknown) {
    problems.push_back(values.problem("smtpd_discard_ehlo_keywords",
                                      "unknown EHLO keyword: " + word, config::Severity::kWarning));
  }
  const auto bounce = config::load<config::BounceParams>(values, problems);
  settings->default_verp_delimiters = bounce.default_verp_delimiters;
  settings->verp_delimiter_filter = bounce.verp_delimiter_filter;
  settings->notified_troubles = parse_troubles(bounce.notify_classes);
  settings->tls = read_tls_settings(values, problems);
  settings->sender_quota = read_sender_quota(values, problems);
  settings->debug_peers = policy::DebugPeers(values);
  settings->restrictions = parse_restriction_lists(settings->smtpd, values, problems);
  settings->has_no_relay_guard = !has_relay_guard(settings->restrictions);
  return settings;
}

}  // namespace postern::smtpd
