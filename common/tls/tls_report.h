// tls_report.h - TLS reports (RFC 8460 4): what one mail system says of its TLS sessions with the
// servers of a domain, as JSON. Pure.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::tls {

struct TlsReportFailure {
  std::string type{};  // "certificate-expired", ...
  std::string sending_address{};
  std::string mx_host{};
  std::string mx_helo{};
  std::string mx_address{};
  std::uint64_t count = 0;
  std::string detail{};  // additional-information
  std::string reason{};  // failure-reason-code

  // As daemons keep it (common/ipc/message.h).
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("type", self.type);
    field("sending_address", self.sending_address);
    field("mx_host", self.mx_host);
    field("mx_helo", self.mx_helo);
    field("mx_address", self.mx_address);
    field("count", self.count);
    field("detail", self.detail);
    field("reason", self.reason);
  }
  friend bool operator==(const TlsReportFailure&, const TlsReportFailure&) = default;
};

struct TlsReportPolicy {
  std::string type{};  // "sts", "tlsa", "no-policy-found"
  std::vector<std::string> strings{};
  std::string domain{};
  std::vector<std::string> mx_patterns{};
  std::uint64_t successes = 0;
  std::uint64_t failures = 0;
  std::vector<TlsReportFailure> details{};

  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("type", self.type);
    field("strings", self.strings);
    field("domain", self.domain);
    field("mx_patterns", self.mx_patterns);
    field("successes", self.successes);
    field("failures", self.failures);
    field("details", self.details);
  }
  friend bool operator==(const TlsReportPolicy&, const TlsReportPolicy&) = default;
};

struct TlsReport {
  std::string organization{};
  std::string contact{};
  std::string id{};
  std::string begin{}, end{};  // 2026-11-29T00:00:00Z
  std::vector<TlsReportPolicy> policies{};

  friend bool operator==(const TlsReport&, const TlsReport&) = default;
};

[[nodiscard]] std::string print_tls_report(const TlsReport& report);

// kPermanent where the text is no report. Of what is no member of the right type nothing is taken;
// policies and failures beyond ten thousand are left out.
[[nodiscard]] Result<TlsReport> parse_tls_report(std::string_view json);

}  // namespace postern::tls
