// settings.h - the configuration of the engine, read once at start and at reload.

#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/config/params/smtp.h"
#include "common/config/problem.h"
#include "common/config/site_list.h"
#include "common/policy/debug_peers.h"
#include "common/smtpclient/destination.h"
#include "common/smtpclient/login_settings.h"
#include "common/smtpclient/tls_settings.h"

namespace postern::smtpclient {

struct Settings {
  Protocol protocol = Protocol::kSmtp;
  // Of the LMTP client these are the lmtp_ values.
  config::SmtpParams params{};
  std::string myhostname{};
  std::set<std::string> own_addresses{};  // and those of proxy_interfaces
  std::string bind_address{};             // IPv4; empty: the system chooses
  std::string bind_address6{};
  bool soft_bounce = false;
  bool use_ipv4 = true;
  bool use_ipv6 = true;
  bool use_mx = true;
  bool use_hosts_file = false;
  bool lmtp_assume_final = false;
  policy::DebugPeers debug_peers{};
  bool notifies_protocol = false;        // notify_classes
  config::SiteList kept_destinations{};  // smtp_connection_cache_destinations
  std::string mail_name{};
  TlsSettings tls{};
  LoginSettings login{};
  // DNS answers say whether they are validated (smtp_dns_support_level), and the query that shows
  // it.
  bool has_dnssec = false;
  std::string dnssec_probe{};
  // A message as old as this may go out in the clear after a failed handshake, at level may.
  std::chrono::seconds minimal_backoff_time{300};
  std::vector<std::string> discard_ehlo_keywords{};  // upper case
  // Where the loops of mail to ourselves are looked for.
  std::uint16_t smtp_port = 25;

  [[nodiscard]] bool is_lmtp() const { return protocol == Protocol::kLmtp; }
  [[nodiscard]] static std::shared_ptr<const Settings> load(const config::Values& values,
                                                            Protocol protocol,
                                                            config::Problems& problems,
                                                            TlsMaterials materials = {});
};
using SettingsPtr = std::shared_ptr<const Settings>;

}  // namespace postern::smtpclient
