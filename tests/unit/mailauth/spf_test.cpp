#include "common/mailauth/spf.h"

#include <catch2/catch.hpp>

#include "common/mailauth/spf_record.h"
#include "tests/support/table_dns.h"

namespace postern::mailauth {

namespace {

using dns::RecordType;

SpfVerdict check(TableDns& dns, std::string_view client, std::string sender) {
  SpfRequest request;
  request.client = *dns::parse_address(client);
  request.helo = "client.example";
  request.sender = std::move(sender);
  request.receiver = "mx.example.net";
  request.now = 1'700'000'000;
  return result_of(check_spf(dns, request));
}

}  // namespace

TEST_CASE("records with one error anywhere are refused whole") {
  const auto text = GENERATE(values<std::string_view>({
      "v=spf1 -all ip4:300.1.1.1",
      "v=spf1 a:example.com/33",
      "v=spf1 a/032",
      "v=spf1 moo -all",
      "v=spf1 ip6:::1/129",
      "v=spf1 include -all",
      "v=spf1 exists",
      "v=spf1 all:x",
      "v=spf1 redirect=",
      "v=spf1 redirect=a.example redirect=b.example",
      "v=spf1 exists:%{x}.example",
      "v=spf1 exists:%{d",
      "v=spf1 a:example.123",
      "v=spf1 a:%{c}.example.com",
      "v=spf1 exists:%{d0}.example.com",
      "v=spf1\tall",
  }));
  INFO(text);
  CHECK_FALSE(parse_spf_record(text).has_value());
}

TEST_CASE("terms of a record are read with what belongs to them") {
  const auto record = parse_spf_record(
      "v=spf1 +a:mail.example.com/24//64 ~mx ?ip4:192.0.2.0/25 ip6:2001:db8::/32 "
      "exists:%{ir}.x.example moo=bar redirect=_spf.example.com");
  REQUIRE(record.has_value());
  REQUIRE(record->terms.size() == 5);
  CHECK(record->terms[0].domain_spec == "mail.example.com");
  CHECK(record->terms[0].prefix4 == 24);
  CHECK(record->terms[0].prefix6 == 64);
  CHECK(record->terms[1].qualifier == '~');
  CHECK(record->terms[2].prefix4 == 25);
  CHECK(record->terms[3].address.is_ipv6);
  CHECK(record->redirect == "_spf.example.com");
}

TEST_CASE("macros of RFC 7208 7.4 expand as its examples say") {
  struct Case {
    std::string_view text, expected;
  };
  const auto c = GENERATE(values<Case>({
      {"%{s}", "strong-bad@email.example.com"},
      {"%{o}", "email.example.com"},
      {"%{d4}", "email.example.com"},
      {"%{d3}", "email.example.com"},
      {"%{d2}", "example.com"},
      {"%{d1}", "com"},
      {"%{dr}", "com.example.email"},
      {"%{d2r}", "example.email"},
      {"%{l-}", "strong.bad"},
      {"%{lr}", "strong-bad"},
      {"%{lr-}", "bad.strong"},
      {"%{l1r-}", "strong"},
      {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
      {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
      {"%%a%_b%-c", "%a b%20c"},
      {"%{L}", "strong-bad"},
      {"%{S}", "strong-bad%40email.example.com"},
  }));
  const auto value = [](char letter) -> std::string {
    switch (letter) {
      case 's':
        return "strong-bad@email.example.com";
      case 'l':
        return "strong-bad";
      case 'i':
        return "192.0.2.3";
      case 'v':
        return "in-addr";
      default:
        return "email.example.com";
    }
  };
  CHECK(expand_spf_macros(c.text, SpfMacroUse::kDomain, value).value() == c.expected);
}

TEST_CASE("a record that includes itself ends at the limit of look-ups") {
  TableDns dns;
  dns.add("loop.example", RecordType::kTxt, "v=spf1 include:loop.example -all");
  CHECK(check(dns, "192.0.2.1", "a@loop.example").result == SpfResult::kPermerror);
  CHECK(dns.questions <= 11);
}

TEST_CASE("ten terms may ask, an eleventh is an error") {
  const unsigned terms = GENERATE(10U, 11U);
  TableDns dns;
  std::string record = "v=spf1";
  for (unsigned i = 0; i < terms; ++i) {
    const std::string host = "h" + std::to_string(i) + ".example";
    record += " a:" + host;
    dns.add(host, RecordType::kA, "192.0.2.200");
  }
  dns.add("d.example", RecordType::kTxt, record + " -all");
  CHECK(check(dns, "192.0.2.1", "a@d.example").result ==
        (terms == 10 ? SpfResult::kFail : SpfResult::kPermerror));
}

TEST_CASE("two look-ups may find nothing, a third is an error") {
  const unsigned terms = GENERATE(2U, 3U);
  TableDns dns;
  std::string record = "v=spf1";
  for (unsigned i = 0; i < terms; ++i) record += " a:void" + std::to_string(i) + ".example";
  dns.add("d.example", RecordType::kTxt, record + " -all");
  CHECK(check(dns, "192.0.2.1", "a@d.example").result ==
        (terms == 2 ? SpfResult::kFail : SpfResult::kPermerror));
}

TEST_CASE("trouble in DNS is temperror, never fail") {
  TableDns dns;
  dns.add("d.example", RecordType::kTxt, "v=spf1 a:gone.example -all");
  dns.fail("gone.example");
  dns.fail("dead.example");
  CHECK(check(dns, "192.0.2.1", "a@d.example").result == SpfResult::kTemperror);
  CHECK(check(dns, "192.0.2.1", "a@dead.example").result == SpfResult::kTemperror);
}

TEST_CASE("an explanation is the domain's, and dropped when anything is wrong with it") {
  struct Case {
    std::string_view text, expected;
  };
  const auto c = GENERATE(values<Case>({{"%{i} is not %{d}'s", "192.0.2.1 is not d.example's"},
                                        {"%{i is broken", ""},
                                        {"line\nbreak", ""},
                                        {"\xc3\xa4", ""}}));
  TableDns dns;
  dns.add("d.example", RecordType::kTxt, "v=spf1 -all exp=why.example");
  dns.add("why.example", RecordType::kTxt, std::string(c.text));
  const auto verdict = check(dns, "192.0.2.1", "a@d.example");
  CHECK(verdict.result == SpfResult::kFail);
  CHECK(verdict.explanation == c.expected);
}

TEST_CASE("an IPv4 client that came in as IPv6 is judged as IPv4") {
  TableDns dns;
  dns.add("d.example", RecordType::kTxt, "v=spf1 ip4:192.0.2.1 -all");
  CHECK(check(dns, "::ffff:192.0.2.1", "a@d.example").result == SpfResult::kPass);
}

TEST_CASE("Received-SPF carries nothing that could end it") {
  SpfRequest request;
  request.client = *dns::parse_address("192.0.2.1");
  request.helo = "a b)\r\nX: y";
  request.sender = "\"x\r\ny\"@d.example";
  request.receiver = "mx.example.net";
  SpfVerdict verdict;
  verdict.result = SpfResult::kPass;
  verdict.domain = "d.example) (";
  const std::string value = format_received_spf(verdict, request, SpfIdentity::kMailFrom);
  CHECK(value.find('\n') == std::string::npos);
  CHECK(value.find('\r') == std::string::npos);
  CHECK(
      value.starts_with("Pass (mx.example.net: domain of d.example? ? designates 192.0.2.1 as "
                        "permitted sender) identity=mailfrom; client-ip=192.0.2.1; "));
}

}  // namespace postern::mailauth
