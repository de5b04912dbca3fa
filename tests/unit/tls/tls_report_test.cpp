#include "common/tls/tls_report.h"

#include <catch2/catch.hpp>

namespace postern::tls {

namespace {

TlsReport sample() {
  return {.organization = "Example \"Org\"",
          .contact = "postmaster@example.org",
          .id = "2026-11-29.12.example.net",
          .begin = "2026-11-29T00:00:00Z",
          .end = "2026-11-29T23:59:59Z",
          .policies = {{.type = "sts",
                        .strings = {"version: STSv1", "mode: testing"},
                        .domain = "example.net",
                        .mx_patterns = {"*.mail.example.net"},
                        .successes = 10,
                        .failures = 2,
                        .details = {{.type = "certificate-expired",
                                     .sending_address = "192.0.2.1",
                                     .mx_host = "mx.example.net",
                                     .mx_helo = "mx",
                                     .mx_address = "192.0.2.2",
                                     .count = 2,
                                     .detail = "certificate has expired"}}}}};
}

}  // namespace

TEST_CASE("TLS reports read back as they were printed") {
  CHECK(parse_tls_report(print_tls_report(sample())).value() == sample());
}

TEST_CASE("bytes of a peer that are no UTF-8 leave the report readable") {
  TlsReport report = sample();
  report.policies[0].details[0].detail = "\xff\xfe";
  const auto read = parse_tls_report(print_tls_report(report));
  REQUIRE(read.has_value());
  CHECK(read->policies[0].details[0].count == 2);
}

TEST_CASE("the report of RFC 8460 appendix B is understood") {
  const auto report = parse_tls_report(R"({
  "organization-name": "Company-X",
  "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
  "contact-info": "sts-reporting@company-x.example",
  "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
  "policies": [{
    "policy": {"policy-type": "sts",
      "policy-string": ["version: STSv1","mode: testing","mx: *.mail.company-y.example","max_age: 86400"],
      "policy-domain": "Company-Y.example", "mx-host": "*.mail.company-y.example"},
    "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
    "failure-details": [
      {"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1",
       "receiving-mx-hostname": "mx1.mail.company-y.example", "failed-session-count": 100},
      {"result-type": "starttls-not-supported", "failed-session-count": 200}]}]})");
  REQUIRE(report.has_value());
  const auto& policy = report->policies.at(0);
  CHECK(policy.domain == "company-y.example");
  CHECK(policy.mx_patterns == std::vector<std::string>{"*.mail.company-y.example"});
  CHECK(policy.successes == 5326);
  CHECK(policy.details.at(1).count == 200);
}

TEST_CASE("what is no TLS report is refused, and odd members are passed over") {
  const auto text =
      GENERATE("", "{", "[]", "null", "{}", R"({"policies":{}})", "\xff", "{\"a\":1}");
  CHECK_FALSE(parse_tls_report(text).has_value());
  const auto odd = parse_tls_report(
      R"({"policies":[1,{"policy":7,"summary":[],"failure-details":[2,{"failed-session-count":-3}]}],
          "date-range":"x","report-id":{}})");
  REQUIRE(odd.has_value());
  REQUIRE(odd->policies.size() == 1);
  CHECK(odd->policies[0].details.at(0).count == 0);
}

}  // namespace postern::tls
