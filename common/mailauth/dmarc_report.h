// dmarc_report.h - aggregate reports of DMARC (RFC 7489 appendix C), as others send them to us.
// Pure.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::mailauth {

struct DmarcReportRow {
  std::string source{};  // the address that sent
  std::uint64_t count = 0;
  std::string disposition{};  // none, quarantine, reject
  bool is_dkim_aligned = false;
  bool is_spf_aligned = false;
  std::string header_from{};

  [[nodiscard]] bool passes() const { return is_dkim_aligned || is_spf_aligned; }
  friend bool operator==(const DmarcReportRow&, const DmarcReportRow&) = default;
};

struct DmarcReport {
  std::string organization{};
  std::string id{};
  std::int64_t begin = 0, end = 0;  // seconds
  std::string domain{};
  std::string policy{};
  std::vector<DmarcReportRow> rows{};
};

// kPermanent where the text is no report. Rows beyond a million are left out.
[[nodiscard]] Result<DmarcReport> parse_dmarc_report(std::string_view xml);

}  // namespace postern::mailauth
