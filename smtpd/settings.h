// settings.h - what the sessions of one service take from the configuration.
//
// A session keeps the settings it began with; a reload makes new ones for those that come after.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config/networks.h"
#include "common/config/params/address.h"
#include "common/config/params/bounce.h"
#include "common/config/params/mailauth.h"
#include "common/config/params/smtpd.h"
#include "common/config/values.h"
#include "common/milter/spec.h"
#include "common/policy/debug_peers.h"
#include "common/policy/list.h"
#include "common/policy/sender_quota.h"
#include "common/smtpwire/command.h"
#include "common/smtpwire/dot.h"
#include "smtpd/login/service.h"
#include "smtpd/proxy_filter.h"
#include "smtpd/tls.h"
#include "smtpd/transcript.h"

namespace postern::smtpd {

using namespace policy;

// What EHLO may offer, as bits: what is switched off for everybody or for one client.
enum EhloKeyword : std::uint32_t {
  kEhloPipelining = 1U << 0U,
  kEhloSize = 1U << 1U,
  kEhloVrfy = 1U << 2U,
  kEhloEtrn = 1U << 3U,
  kEhloStarttls = 1U << 4U,
  kEhloAuth = 1U << 5U,
  kEhloXverp = 1U << 6U,
  kEhloXclient = 1U << 7U,
  kEhloXforward = 1U << 8U,
  kEhloEnhancedStatusCodes = 1U << 9U,
  kEhlo8BitMime = 1U << 10U,
  kEhloDsn = 1U << 11U,
  kEhloSmtputf8 = 1U << 12U,
  kEhloChunking = 1U << 13U,
  kEhloSilentDiscard = 1U << 14U,  // no log line about the others
  kEhloRequireTls = 1U << 15U,
};
using EhloKeywords = std::uint32_t;

// The bits of words as smtpd_discard_ehlo_keywords has them; unknown ones go to *unknown.
[[nodiscard]] EhloKeywords parse_ehlo_keywords(const std::vector<std::string>& words,
                                               std::vector<std::string>* unknown = nullptr);
// "PIPELINING CHUNKING", in the order in which EHLO offers them.
[[nodiscard]] std::string print_ehlo_keywords(EhloKeywords keywords);

// One word of smtpd_forbidden_commands: a command or a table of them.
struct ForbiddenCommand {
  std::string word;  // upper case, but for a table
  bool is_table = false;
};

struct Settings {
  config::SmtpdParams smtpd;
  config::AddressParams address;
  config::MailauthParams mailauth;
  std::string mail_name;
  std::uint64_t message_size_limit = 0;
  bool replaces_stray_cr = true;  // cleanup_replace_stray_cr_lf
  std::size_t line_length_limit = 2048;
  bool enable_long_queue_ids = false;
  std::chrono::seconds in_flow_delay{0};
  bool smtputf8_enable = true;
  bool strict_smtputf8 = false;
  std::vector<std::string> own_addresses;
  std::vector<std::string> noop_commands;  // upper case
  std::vector<ForbiddenCommand> forbidden_commands;
  EhloKeywords discarded_keywords = 0;
  std::string content_filter;
  ProxyFilter::Settings proxy_filter;
  LoginSettings login;
  milter::ListSettings milters;
  std::vector<std::string> smtpd_milter_maps;
  std::int64_t cleanup_overrides = 0;  // receive_override_options, for cleanup
  bool no_unknown_recipient_checks = false;
  std::string default_verp_delimiters;
  std::string verp_delimiter_filter;

  // Of logins; nothing where the value is wrong, which is answered like a wrong restriction.
  std::optional<SenderQuota> sender_quota;

  policy::DebugPeers debug_peers;
  Troubles notified_troubles = 0;  // of notify_classes
  TlsSettings tls;

  RestrictionLists restrictions;
  // No list keeps strangers from relaying: nobody is served (SMTPD_ACCESS_README).
  bool has_no_relay_guard = false;
};
using SettingsPtr = std::shared_ptr<const Settings>;

// The pattern that stock smtpd_forbidden_commands ends with: what begins with no letter. It is
// judged without asking a table.
inline constexpr std::string_view kStockForbiddenTable = "regexp:{{/^[^A-Z]/ Bogus}}";

[[nodiscard]] SettingsPtr read_settings(const config::Values& values, config::Problems& problems);

}  // namespace postern::smtpd
