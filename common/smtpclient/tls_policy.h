// tls_policy.h - how much secrecy a next hop must give us: main.cf's level, and what the policy
// table says of a destination instead. Pure.
//
//     example.org      secure match=nexthop:dot-nexthop protocols=>=TLSv1.2
//     [mx.partner]:25  fingerprint match=00:11:... match=22:33:...
//
// Sources: postconf(5) smtp_tls_security_level, smtp_tls_policy_maps; TLS_README, "client TLS
// security levels".

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/params/tls.h"
#include "common/ipc/tables.h"

namespace postern::smtpclient {

// In the order of postconf(5): who stands further down promises more.
enum class TlsLevel : unsigned char {
  kNone,
  kMay,
  kEncrypt,
  kFingerprint,
  kDane,
  kDaneOnly,
  kVerify,
  kSecure,
};

[[nodiscard]] std::optional<TlsLevel> parse_tls_level(std::string_view text);
[[nodiscard]] std::string_view name_of(TlsLevel level);

// Without TLS nothing is sent.
[[nodiscard]] inline bool is_mandatory(TlsLevel level) { return level >= TlsLevel::kEncrypt; }
// The server has to show who it is.
[[nodiscard]] inline bool must_match(TlsLevel level) { return level > TlsLevel::kEncrypt; }
[[nodiscard]] inline bool is_dane(TlsLevel level) {
  return level == TlsLevel::kDane || level == TlsLevel::kDaneOnly;
}

// A domain's own policy, as its report names it.
struct ReportedPolicy {
  std::string type{};  // "sts", "tlsa", "no-policy-found"
  std::string domain{};
  std::vector<std::string> strings{};
  std::vector<std::string> mx_patterns{};
  // Why it could not be had: each try under it is a failure.
  std::string failure{};

  friend bool operator==(const ReportedPolicy&, const ReportedPolicy&) = default;
};

struct TlsPolicy {
  TlsLevel level = TlsLevel::kNone;
  std::string protocols{};
  std::string ciphers{};
  std::vector<std::string> exclude{};
  // Names, or "hostname", "nexthop", "dot-nexthop"; at kFingerprint digests in hexadecimal.
  std::vector<std::string> match{};
  std::string trust_anchor_file{};
  std::string servername{};  // "hostname", "nexthop" or a name; empty: no SNI
  bool connection_reuse = false;
  // MTA-STS: the servers that an enforced policy of the domain names; empty: there is none.
  std::vector<std::string> sts_mx{};
  // The same of a policy that the domain is testing: looked at for the report, not heeded.
  std::vector<std::string> tested_mx{};
  // smtp_tls_per_site may say otherwise, of the next hop or of each server.
  bool is_by_site = false;
  // What a report says of it (RFC 8460 4.3.1); the type is empty where DNS decides.
  ReportedPolicy reported{};

  friend bool operator==(const TlsPolicy&, const TlsPolicy&) = default;
};

// What main.cf says of all destinations; `params` are those of the protocol (values.for_lmtp()).
// An error: what the configuration asks for cannot be had, and nothing may be sent.
[[nodiscard]] Result<TlsPolicy> default_tls_policy(const config::TlsParams& params);

// That of a level, with what main.cf has for it and no attribute.
[[nodiscard]] TlsPolicy tls_policy_at(TlsLevel level, const config::TlsParams& params);

// A result of smtp_tls_policy_maps. An error says what is wrong with it; the mail then waits.
[[nodiscard]] Result<TlsPolicy> parse_tls_policy(std::string_view entry,
                                                 const config::TlsParams& params);

// What the results of smtp_tls_per_site for next hop and server make of main.cf's policy, in the
// words of the old parameter: NONE, MAY, MUST_NOPEERMATCH, MUST. The stricter one counts, but NONE
// goes before MAY.
[[nodiscard]] Result<TlsPolicy> policy_of_sites(TlsPolicy policy,
                                                const std::vector<std::string>& results,
                                                const config::TlsParams& params);

// What is looked up in smtp_tls_policy_maps, in this order: the next hop as it is written, and,
// where it is a domain, each parent with a dot in front.
[[nodiscard]] std::vector<ipc::tables::Key> tls_policy_keys(std::string_view nexthop);

// The names of which the certificate must have one. `domain` is the next hop without brackets and
// port, `host` the server. A name with a dot in front stands for all below it.
[[nodiscard]] std::vector<std::string> names_to_match(const TlsPolicy& policy,
                                                      std::string_view domain,
                                                      std::string_view host);

// The name sent as SNI (RFC 6066); empty: none. At a DANE level it is the TLSA base domain, which
// the caller knows.
[[nodiscard]] std::string server_name_of(const TlsPolicy& policy, std::string_view domain,
                                         std::string_view host);

}  // namespace postern::smtpclient
