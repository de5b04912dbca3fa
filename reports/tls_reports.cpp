#include "reports/tls_reports.h"

#include <fmt/format.h>

namespace postern::reports {

Result<Report> make_tls_report(const TlsDay& counted, const std::string& day,
                               const std::string& domain, const Submitter& submitter) {
  tls::TlsReport content;
  content.organization = submitter.organization;
  content.contact = submitter.contact;
  // The same when it is tried again, another when a part of the day was sent before.
  content.id = fmt::format("{}.{}.{}", day, counted.good() + counted.bad(), domain);
  content.begin = day + "T00:00:00Z";
  content.end = day + "T23:59:59Z";
  content.policies = counted.policies;
  Report report;
  report.domain = domain;
  report.id = content.id;
  report.is_tls = true;
  report.media_type = "application/tlsrpt+gzip";
  const std::int64_t start = start_of(day);
  report.file_name =
      fmt::format("{}!{}!{}!{}.json.gz", submitter.domain, domain, start, start + kDaySeconds - 1);
  report.good = counted.good();
  report.bad = counted.bad();
  report.text = fmt::format(
      "This is a TLS report (RFC 8460) of {} about {}, {} (UTC):\n"
      "{} sessions were set up, {} failed. The attachment has the details.\n\nContact: {}\n",
      submitter.organization, domain, day, report.good, report.bad, submitter.contact);
  TRY(report.bytes, gzip(tls::print_tls_report(content)));
  return report;
}

}  // namespace postern::reports
