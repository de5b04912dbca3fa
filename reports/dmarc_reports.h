// dmarc_reports.h - the DMARC aggregate report of one domain and day, made of what was counted
// (RFC 7489 appendix C). Pure.

#pragma once

#include <string_view>

#include "reports/records.h"
#include "reports/report_mail.h"

namespace postern::reports {

[[nodiscard]] Result<Report> make_dmarc_report(const DmarcDay& counted, const std::string& day,
                                               const std::string& domain,
                                               const Submitter& submitter);

// The XML in it.
[[nodiscard]] std::string print_dmarc_report(const DmarcDay& counted, const std::string& day,
                                             const std::string& domain, const Submitter& submitter);

// Whether a TXT record begins with v=DMARC1 (RFC 7489 7.1).
[[nodiscard]] bool is_dmarc_version(std::string_view text);

}  // namespace postern::reports
