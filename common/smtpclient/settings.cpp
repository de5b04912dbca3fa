#include "common/smtpclient/settings.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/config/params/dns.h"
#include "common/dns/wire.h"

namespace postern::smtpclient {

namespace {

std::string canonical(std::string_view address) {
  const auto parsed = dns::parse_address(trim(address, "[]"));
  return parsed ? parsed->to_text() : std::string(address);
}

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

// A machine with one address for mail also sends from it, so that others see it as itself.
std::string only_address(const config::Snapshot& snapshot, bool ipv6) {
  std::string found;
  for (const auto& address : snapshot.own_addresses) {
    if ((address.find(':') != std::string::npos) != ipv6) continue;
    if (!found.empty()) return {};
    found = address;
  }
  return is_loopback(found) ? std::string() : found;
}

}  // namespace

std::shared_ptr<const Settings> Settings::load(const config::Values& all, Protocol protocol,
                                               config::Problems& problems, TlsMaterials materials) {
  const config::Values values = protocol == Protocol::kLmtp ? all.for_lmtp() : all;
  auto out = std::make_shared<Settings>();
  out->protocol = protocol;
  out->params = config::load<config::SmtpParams>(values, problems);
  const auto dns = config::load<config::DnsParams>(values, problems);
  out->myhostname = values.text("myhostname");
  out->soft_bounce = values.flag("soft_bounce");

  for (const auto& address : values.snapshot().own_addresses) {
    out->own_addresses.insert(canonical(address));
  }
  for (const auto& address : values.list("proxy_interfaces")) {
    out->own_addresses.insert(canonical(address));
  }
  const auto protocols = values.list("inet_protocols");
  const auto has = [&](std::string_view word) {
    return std::ranges::any_of(protocols,
                               [&](const std::string& each) { return equal_nocase(each, word); });
  };
  out->use_ipv4 = has("all") || has("ipv4");
  out->use_ipv6 = has("all") || has("ipv6");

  const bool is_bound_to_some = values.text("inet_interfaces") != "all";
  out->bind_address = out->params.smtp_bind_address;
  out->bind_address6 = out->params.smtp_bind_address6;
  if (is_bound_to_some && out->bind_address.empty()) {
    out->bind_address = only_address(values.snapshot(), false);
  }
  if (is_bound_to_some && out->bind_address6.empty()) {
    out->bind_address6 = only_address(values.snapshot(), true);
  }

  const bool is_dns_off =
      out->params.disable_dns_lookups || dns.smtp_dns_support_level == "disabled";
  out->use_mx = !is_dns_off && protocol == Protocol::kSmtp;
  out->use_hosts_file = is_dns_off || std::ranges::find(out->params.smtp_host_lookup, "native") !=
                                          out->params.smtp_host_lookup.end();
  if (protocol == Protocol::kLmtp) out->lmtp_assume_final = values.flag("lmtp_assume_final");
  out->debug_peers = policy::DebugPeers(values);
  out->mail_name = values.text("mail_name");
  out->kept_destinations =
      config::SiteList(out->params.smtp_connection_cache_destinations, false, values);
  out->notifies_protocol =
      std::ranges::any_of(values.list("notify_classes"),
                          [](const std::string& word) { return equal_nocase(word, "protocol"); });
  out->tls =
      TlsSettings::load(config::load<config::TlsParams>(values, problems), std::move(materials));
  out->login = LoginSettings::load(values, problems);
  out->has_dnssec = !is_dns_off && dns.smtp_dns_support_level == "dnssec";
  out->dnssec_probe = dns.dnssec_probe;
  out->minimal_backoff_time = values.duration("minimal_backoff_time");
  for (const auto& keyword : out->params.smtp_discard_ehlo_keywords) {
    out->discard_ehlo_keywords.push_back(to_upper(keyword));
  }
  out->smtp_port = find_port(out->params.smtp_tcp_port).value_or(25);
  return out;
}

}  // namespace postern::smtpclient
