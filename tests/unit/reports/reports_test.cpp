#include <catch2/catch.hpp>
#include <set>

#include "common/mailauth/dmarc_report.h"
#include "reports/days.h"
#include "reports/dmarc_reports.h"
#include "reports/tls_reports.h"

namespace postern::reports {

namespace {

ipc::reports::TlsResult tls_result(std::string failure, std::string host = "mx.example.net") {
  ipc::reports::TlsResult result;
  result.domain = "example.net";
  result.policy_type = "sts";
  result.policy_domain = "example.net";
  result.policy_strings = {"version: STSv1"};
  result.failure = std::move(failure);
  result.mx_host = std::move(host);
  return result;
}

ipc::reports::DmarcResult dmarc_result(std::string source) {
  ipc::reports::DmarcResult result;
  result.domain = "example.net";
  result.published.policy = "reject";
  result.published.addresses = {"mailto:r@example.net"};
  result.source = std::move(source);
  result.disposition = "none";
  result.is_dkim_aligned = true;
  result.header_from = "news.example.net";
  result.envelope_from = "b<o>unce.example.net";
  result.dkim = {{"example.net", "s1", "pass"}};
  result.spf_domain = "bounce.example.net";
  result.spf_scope = "mfrom";
  result.spf_result = "softfail";
  return result;
}

const Submitter kUs{"Example Org", "postmaster@example.org", "reports@example.org", "example.org",
                    "mx.example.org"};

}  // namespace

TEST_CASE("the same result is counted, another one is a line of its own") {
  TlsDay day;
  day.add(tls_result(""));
  day.add(tls_result(""));
  day.add(tls_result("certificate-expired"));
  day.add(tls_result("certificate-expired"));
  day.add(tls_result("starttls-not-supported", "mx2.example.net"));
  REQUIRE(day.policies.size() == 1);
  CHECK(day.good() == 2);
  CHECK(day.bad() == 3);
  REQUIRE(day.policies[0].details.size() == 2);
  CHECK(day.policies[0].details[0].count == 2);
  CHECK(day.remarks() ==
        std::vector<std::string>{"sts, 2 certificate-expired, 1 starttls-not-supported"});
}

TEST_CASE("however many servers fail, what is kept of a day is bounded, and all are counted") {
  TlsDay day;
  for (int i = 0; i < 1000; ++i) day.add(tls_result("x", "mx" + std::to_string(i)));
  CHECK(day.policies[0].details.size() == TlsDay::kMaxFailures);
  CHECK(day.bad() == 1000);
  DmarcDay mail;
  for (std::size_t i = 0; i < DmarcDay::kMaxRows + 5; ++i)
    mail.add(dmarc_result(std::to_string(i)));
  CHECK(mail.rows.size() == DmarcDay::kMaxRows);
  CHECK(mail.left_out == 5);
}

TEST_CASE("days are UTC, and the first second of a day is its name") {
  CHECK(day_of(0) == "1970-01-01");
  CHECK(day_of(1'795'910'399) == day_of(1'795'910'399 / kDaySeconds * kDaySeconds));
  CHECK(start_of("1970-01-02") == kDaySeconds);
  CHECK(day_of(start_of("2026-11-29")) == "2026-11-29");
  CHECK(start_of("nonsense") == 0);
}

TEST_CASE("reports are sent after the end of their day, spread out, in the order of days") {
  const std::int64_t end = start_of("2026-11-30");
  CHECK(due_time("2026-11-29", "example.net", std::chrono::hours(0)) == end);
  std::set<std::int64_t> times;
  for (int i = 0; i < 100; ++i) {
    const std::string domain = "d" + std::to_string(i) + ".example";
    const auto time = due_time("2026-11-29", domain, std::chrono::hours(4));
    CHECK(time >= end);
    CHECK(time < end + 4 * 3600);
    CHECK(due_time("2026-11-30", domain, std::chrono::hours(4)) == time + kDaySeconds);
    CHECK(due_time("2026-11-29", domain, std::chrono::hours(1000)) < end + kDaySeconds);
    times.insert(time);
  }
  CHECK(times.size() > 50);
}

TEST_CASE("what was counted is there after a restart") {
  table::Kept store;
  Days<TlsDay> before("tls", store);
  before.change({"2026-11-29", "example.net"})->add(tls_result("certificate-expired"));
  before.change({"2026-11-29", "example.com"})->add(tls_result(""));
  before.write();
  before.remove({"2026-11-29", "example.com"});
  Days<DmarcDay> others("dmarc", store);
  others.load();
  CHECK(others.all().empty());
  Days<TlsDay> after("tls", store);
  after.load();
  REQUIRE(after.all().size() == 1);
  CHECK(after.find({"2026-11-29", "example.net"})->policies.at(0).details.at(0).type ==
        "certificate-expired");
}

TEST_CASE("a TLS report names the day, and its mail carries what RFC 8460 asks for") {
  TlsDay day;
  day.add(tls_result(""));
  const auto report = make_tls_report(day, "2026-11-29", "example.net", kUs);
  REQUIRE(report.has_value());
  CHECK(report->file_name == "example.org!example.net!1795910400!1795996799.json.gz");
  CHECK(report->bytes.starts_with("\x1f\x8b"));
  const std::string mail = compose_mail(*report, kUs, "r@example.net", 1'795'996'800);
  for (const char* const line :
       {"From: <reports@example.org>\n", "To: <r@example.net>\n",
        "TLS-Report-Domain: example.net\n", "TLS-Report-Submitter: example.org\n",
        "TLS-Required: No\n", "Content-Type: multipart/report; report-type=\"tlsrpt\";\n",
        "Content-Type: application/tlsrpt+gzip\n", "Date: Mon, 30 Nov 2026 00:00:00 +0000\n"}) {
    INFO(line);
    CHECK(mail.find(line) != std::string::npos);
  }
}

TEST_CASE("a DMARC report is read as it was meant") {
  DmarcDay day;
  day.add(dmarc_result("192.0.2.1"));
  day.add(dmarc_result("192.0.2.1"));
  auto failed = dmarc_result("2001:db8::1");
  failed.is_dkim_aligned = false;
  failed.disposition = "reject";
  failed.reason = "mailing_list";
  day.add(failed);
  const std::string xml = print_dmarc_report(day, "2026-11-29", "example.net", kUs);
  const auto report = mailauth::parse_dmarc_report(xml);
  REQUIRE(report.has_value());
  CHECK(report->organization == "Example Org");
  CHECK(report->domain == "example.net");
  CHECK(report->policy == "reject");
  CHECK(report->begin == 1'795'910'400);
  REQUIRE(report->rows.size() == 2);
  CHECK(report->rows[0] ==
        mailauth::DmarcReportRow{"192.0.2.1", 2, "none", true, false, "news.example.net"});
  CHECK(report->rows[1].disposition == "reject");
  CHECK(xml.find("<envelope_from>b&lt;o&gt;unce.example.net</envelope_from>") != std::string::npos);
}

TEST_CASE("a domain agrees to reports about others with a DMARC record") {
  CHECK(is_dmarc_version("v=DMARC1"));
  CHECK(is_dmarc_version("v = DMARC1 ; rua=mailto:x@y"));
  CHECK_FALSE(is_dmarc_version("v=DMARC2"));
  CHECK_FALSE(is_dmarc_version(""));
}

}  // namespace postern::reports
