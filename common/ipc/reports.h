// reports.h - what the `reports` service (private/reports) is told, and what it shows.
//
// Results come as notices: one that cannot be sent at once is lost, mail never waits for it.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::reports {

// One try of a TLS session with a server of `domain` (RFC 8460).
struct TlsResult {
  static constexpr std::uint16_t kType = 0x1501;
  std::string domain;
  std::string policy_type;  // "sts", "tlsa", "no-policy-found"
  std::string policy_domain;
  std::vector<std::string> policy_strings;
  std::vector<std::string> mx_patterns;
  std::string failure;  // a result type of RFC 8460 4.3; empty: success
  std::string mx_host;
  std::string mx_address;
  std::string mx_helo;
  std::string own_address;
  std::string detail;  // more about the failure
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("domain", self.domain);
    field("policy_type", self.policy_type);
    field("policy_domain", self.policy_domain);
    field("policy_strings", self.policy_strings);
    field("mx_patterns", self.mx_patterns);
    field("failure", self.failure);
    field("mx_host", self.mx_host);
    field("mx_address", self.mx_address);
    field("mx_helo", self.mx_helo);
    field("own_address", self.own_address);
    field("detail", self.detail);
  }
};

struct DkimOutcome {
  std::string domain;
  std::string selector;
  std::string result;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("domain", self.domain);
    field("selector", self.selector);
    field("result", self.result);
  }
  friend bool operator==(const DkimOutcome&, const DkimOutcome&) = default;
};

// What a domain has published, as a report repeats it (RFC 7489 appendix C, PolicyPublished).
struct DmarcPublished {
  std::string policy;
  std::string subdomain_policy;
  bool is_dkim_strict = false;
  bool is_spf_strict = false;
  std::int64_t percent = 100;
  std::vector<std::string> addresses;  // rua=
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("policy", self.policy);
    field("subdomain_policy", self.subdomain_policy);
    field("is_dkim_strict", self.is_dkim_strict);
    field("is_spf_strict", self.is_spf_strict);
    field("percent", self.percent);
    field("addresses", self.addresses);
  }
  friend bool operator==(const DmarcPublished&, const DmarcPublished&) = default;
};

// One message of a domain with a DMARC record that wants reports.
struct DmarcResult {
  static constexpr std::uint16_t kType = 0x1502;
  std::string domain;  // where the record was found
  DmarcPublished published;
  std::string source;       // the client's address
  std::string disposition;  // "none", "quarantine", "reject"
  bool is_dkim_aligned = false;
  bool is_spf_aligned = false;
  std::string reason;  // why the policy was not applied: a word of RFC 7489's PolicyOverrideType
  std::string comment;
  std::string header_from;
  std::string envelope_from;
  std::vector<DkimOutcome> dkim;
  std::string spf_domain;
  std::string spf_scope;  // "mfrom", "helo"
  std::string spf_result;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("domain", self.domain);
    field("published", self.published);
    field("source", self.source);
    field("disposition", self.disposition);
    field("is_dkim_aligned", self.is_dkim_aligned);
    field("is_spf_aligned", self.is_spf_aligned);
    field("reason", self.reason);
    field("comment", self.comment);
    field("header_from", self.header_from);
    field("envelope_from", self.envelope_from);
    field("dkim", self.dkim);
    field("spf_domain", self.spf_domain);
    field("spf_scope", self.spf_scope);
    field("spf_result", self.spf_result);
  }
};

enum class Kind : std::uint8_t { kTls = 0, kDmarc = 1 };

// What was collected for one domain on one day, or what became of it.
struct Line {
  Kind kind = Kind::kTls;
  std::string day;  // 2026-11-29, UTC
  std::string domain;
  std::uint64_t good = 0;
  std::uint64_t bad = 0;
  std::vector<std::string>
      remarks;  // result types with their counts; who got the report, or why not
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
    field("day", self.day);
    field("domain", self.domain);
    field("good", self.good);
    field("bad", self.bad);
    field("remarks", self.remarks);
  }
};

struct Listing {
  std::vector<Line> collected;
  std::vector<Line> sent;  // oldest first
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("collected", self.collected);
    field("sent", self.sent);
  }
};

// `postern report tls` and `postern report dmarc --collected`.
struct List {
  static constexpr std::uint16_t kType = 0x1503;
  static constexpr bool kRepeatable = true;
  using Reply = Listing;
  Kind kind = Kind::kTls;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
  }
};

// `--send`: everything that was collected, the day that is not over included. The answer comes when
// all is sent or given up for now.
struct Send {
  static constexpr std::uint16_t kType = 0x1504;
  using Reply = Listing;  // what became of it, in `sent`
  Kind kind = Kind::kTls;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
  }
};

}  // namespace postern::ipc::reports
