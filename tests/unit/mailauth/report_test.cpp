#include <catch2/catch.hpp>

#include "common/mailauth/dmarc_report.h"
#include "common/mailauth/xml_reader.h"

namespace postern::mailauth {

TEST_CASE("a report is read with its rows, whatever else stands in it") {
  const auto report = parse_dmarc_report(R"(<?xml version="1.0"?>
<!-- ours --><feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
 <version>1.0</version>
 <report_metadata><org_name>A &amp; B</org_name><email>x@y</email><report_id>77</report_id>
  <date_range><begin>1700000000</begin><end>1700086400</end></date_range></report_metadata>
 <policy_published><domain>Example.org</domain><adkim>r</adkim><p>reject</p><pct>100</pct>
 </policy_published>
 <record><row><source_ip>192.0.2.1</source_ip><count>12</count><policy_evaluated>
   <disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
  <identifiers><header_from>example.org</header_from></identifiers>
  <auth_results><dkim><domain>other.example</domain><result>fail</result></dkim>
   <spf><domain>x.example</domain><result>pass</result></spf></auth_results></record>
 <record><row><source_ip>2001:db8::1</source_ip><count>3</count><policy_evaluated>
   <disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf><reason/></policy_evaluated>
 </row></record></feedback>
)");
  REQUIRE(report.has_value());
  CHECK(report->organization == "A & B");
  CHECK(report->domain == "example.org");
  CHECK(report->policy == "reject");
  CHECK(report->end - report->begin == 86400);
  REQUIRE(report->rows.size() == 2);
  CHECK(report->rows[0] == DmarcReportRow{"192.0.2.1", 12, "none", true, false, "example.org"});
  CHECK(report->rows[0].passes());
  CHECK_FALSE(report->rows[1].passes());
  CHECK(report->rows[1].count == 3);
}

TEST_CASE("what is no report is refused, and what would expand is not read") {
  const auto text = GENERATE(values<std::string_view>(
      {"", "plain text", "<feedback>", "<feedback></feedback>", "<html></html>",
       "<feedback><a></b></feedback>", "<feedback><record></feedback></record>",
       "<!DOCTYPE x [<!ENTITY a \"b\">]><feedback></feedback>", "<feedback><!-- ", "<>", "</x>"}));
  INFO(text);
  CHECK_FALSE(parse_dmarc_report(text).has_value());
}

TEST_CASE("elements deeper than any report are refused") {
  std::string text;
  for (std::size_t i = 0; i <= XmlReader::kMaxDepth; ++i) text += "<a>";
  XmlReader reader(text);
  auto event = reader.next();
  while (event == XmlReader::Event::kOpen) event = reader.next();
  CHECK(event == XmlReader::Event::kError);
}

}  // namespace postern::mailauth
