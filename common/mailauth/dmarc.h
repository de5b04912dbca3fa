// dmarc.h - does the domain that a reader sees vouch for the message, and what does it ask for
// where not? RFC 7489; the tree walk of its successor by choice.
//
// A message has one From field with addresses of one domain. Anything else never passes; the
// strictest policy of its domains applies.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/mail/header.h"
#include "common/mailauth/dkim.h"
#include "common/mailauth/dns_source.h"
#include "common/mailauth/public_suffix.h"
#include "common/mailauth/spf.h"

namespace postern::mailauth {

enum class DmarcPolicy : unsigned char { kNone, kQuarantine, kReject };
[[nodiscard]] std::string_view dmarc_policy_name(DmarcPolicy policy);

enum class Alignment : unsigned char { kRelaxed, kStrict };

struct DmarcRecord {
  DmarcPolicy policy = DmarcPolicy::kNone;
  std::optional<DmarcPolicy> subdomain_policy{};    // sp=
  std::optional<DmarcPolicy> nonexistent_policy{};  // np= (RFC 9091)
  Alignment dkim = Alignment::kRelaxed;
  Alignment spf = Alignment::kRelaxed;
  unsigned percent = 100;
  char suffix = 'u';                             // psd=: y, n or u
  std::vector<std::string> aggregate_reports{};  // URIs of rua=
  std::vector<std::string> failure_reports{};    // of ruf=
  bool is_test = false;                          // t=y
};

// nullopt where the text is no DMARC record, or one to be ignored: no usable p= and nobody to
// report to. Whatever else is wrong has its default (RFC 7489 6.6.3).
[[nodiscard]] std::optional<DmarcRecord> parse_dmarc_record(std::string_view text);

enum class DmarcDiscovery : unsigned char { kPublicSuffixes, kTreeWalk };

struct DmarcRequest {
  std::vector<std::string> from_domains{};  // see author_domains()
  bool is_from_odd = false;
  SpfResult spf = SpfResult::kNone;
  std::string spf_domain{};  // of the MAIL FROM identity
  std::vector<DkimResult> dkim{};
  DmarcDiscovery discovery = DmarcDiscovery::kPublicSuffixes;
  unsigned sample = 0;  // 0 to 99: below pct= the policy applies
};

struct DmarcVerdict {
  Verdict verdict = Verdict::kNone;
  DmarcPolicy policy = DmarcPolicy::kNone;       // published for this domain
  DmarcPolicy disposition = DmarcPolicy::kNone;  // what is asked for this message
  std::string from_domain{};
  std::string policy_domain{};
  std::string problem{};
  bool is_spf_aligned = false;   // and passed
  bool is_dkim_aligned = false;  // and passed
  DmarcRecord record{};
};

// The domains of the From fields, lower case, each once. `is_odd` where they do not say plainly who
// the author is: no field or several, no address, domains that differ or are none.
struct AuthorDomains {
  std::vector<std::string> domains{};
  bool is_odd = false;
};
[[nodiscard]] AuthorDomains author_domains(const std::vector<mail::HeaderField>& header);

[[nodiscard]] loop::Task<DmarcVerdict> check_dmarc(DnsSource& dns, const PublicSuffixes& suffixes,
                                                   DmarcRequest request);

}  // namespace postern::mailauth
