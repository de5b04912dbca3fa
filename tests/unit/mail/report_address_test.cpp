#include "common/mail/report_address.h"

#include <catch2/catch.hpp>

namespace postern::mail {

using Kind = ReportAddress::Kind;

TEST_CASE("addresses for reports are mail or HTTPS, with a size") {
  struct Case {
    std::string_view uri;
    ReportAddress wanted;
  };
  const auto c = GENERATE(values<Case>({
      {"mailto:r@example.org", {Kind::kMail, "r@example.org", "example.org", 0}},
      {" MAILTO:r@Example.ORG!10m ", {Kind::kMail, "r@Example.ORG", "example.org", 10U << 20U}},
      {"mailto:r@example.org?subject=x", {Kind::kMail, "r@example.org", "example.org", 0}},
      {"mailto:a%2Bb@example.org!5", {Kind::kMail, "a+b@example.org", "example.org", 5}},
      {"https://R.example.org/v1?x=1",
       {Kind::kHttps, "https://r.example.org/v1?x=1", "r.example.org", 0}},
      {"https://r.example.org:443", {Kind::kHttps, "https://r.example.org/", "r.example.org", 0}},
  }));
  CHECK(parse_report_address(c.uri) == c.wanted);
}

TEST_CASE("what we would not send to is no address for reports") {
  const auto uri = GENERATE(
      "", "mailto:", "mailto:r", "mailto:@example.org", "mailto:r@", "mailto:a@b@example.org",
      "mailto:r@example.org!x", "mailto:r@example.org!0", "mailto:r@[192.0.2.1]",
      "mailto:a%0d%0aTo:b@example.org", "mailto:%41%4@example.org", "mailto:a,b@example.org",
      "http://r.example.org/", "https://", "https://u:p@r.example.org/",
      "https://r.example.org:8443/", "https://192.0.2.1/", "https://[::1]/",
      "https://r.example.org/a b", "https://r.example.org/<x>", "ftp://r.example.org/");
  CHECK_FALSE(parse_report_address(uri).has_value());
}

TEST_CASE("a list of addresses is bounded, and each is in it once") {
  std::string list = "mailto:x@example.org, mailto:x@example.org, nonsense";
  CHECK(parse_report_addresses(list).size() == 1);
  for (int i = 0; i < 20; ++i) list += ",mailto:a" + std::to_string(i) + "@example.org";
  CHECK(parse_report_addresses(list).size() == kMaxReportAddresses);
}

TEST_CASE("TLSRPT records") {
  CHECK(find_tlsrpt_addresses({"v=spf1 -all", "v=TLSRPTv1; rua=mailto:r@example.org"}).size() == 1);
  CHECK(find_tlsrpt_addresses({"v=TLSRPTv1;rua=mailto:r@example.org,https://r.example.org/;x=y"})
            .size() == 2);
  // Of two nobody knows which one is meant.
  CHECK(find_tlsrpt_addresses(
            {"v=TLSRPTv1; rua=mailto:a@example.org", "v=TLSRPTv1; rua=mailto:b@example.org"})
            .empty());
  CHECK(find_tlsrpt_addresses({"v=TLSRPTv2; rua=mailto:r@example.org"}).empty());
  CHECK(find_tlsrpt_addresses({"rua=mailto:r@example.org; v=TLSRPTv1"}).empty());
  CHECK(find_tlsrpt_addresses({""}).empty());
  CHECK(parse_tlsrpt_record("v=TLSRPTv1").value().empty());
}

}  // namespace postern::mail
