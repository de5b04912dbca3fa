// tls_reports.h - the TLS report of one domain and day, made of what was counted (RFC 8460). Pure.

#pragma once

#include "reports/records.h"
#include "reports/report_mail.h"

namespace postern::reports {

[[nodiscard]] Result<Report> make_tls_report(const TlsDay& counted, const std::string& day,
                                             const std::string& domain, const Submitter& submitter);

}  // namespace postern::reports
