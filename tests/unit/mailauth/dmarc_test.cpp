#include "common/mailauth/dmarc.h"

#include <catch2/catch.hpp>

#include "tests/support/table_dns.h"

namespace postern::mailauth {

namespace {

using dns::RecordType;

const PublicSuffixes& suffixes() {
  static const PublicSuffixes list = PublicSuffixes::built_in();
  return list;
}

DmarcRequest request_for(std::string_view header) {
  const std::string block(header);
  const auto author = author_domains(mail::split_header(block));
  DmarcRequest request;
  request.from_domains = author.domains;
  request.is_from_odd = author.is_odd;
  return request;
}

DmarcRequest with_spf(DmarcRequest request, std::string domain,
                      SpfResult result = SpfResult::kPass) {
  request.spf = result;
  request.spf_domain = std::move(domain);
  return request;
}

DmarcRequest with_dkim(DmarcRequest request, std::string domain, Verdict verdict = Verdict::kPass) {
  DkimResult result;
  result.domain = std::move(domain);
  result.verdict = verdict;
  request.dkim.push_back(std::move(result));
  return request;
}

DmarcVerdict check(TableDns& dns, DmarcRequest request) {
  return result_of(check_dmarc(dns, suffixes(), std::move(request)));
}

}  // namespace

TEST_CASE("records are read as RFC 7489 6.6.3 says, and the others ignored") {
  CHECK_FALSE(parse_dmarc_record("v=DMARC1").has_value());
  CHECK_FALSE(parse_dmarc_record("p=reject; v=DMARC1").has_value());
  CHECK_FALSE(parse_dmarc_record("v=DMARC1; p=often").has_value());
  CHECK_FALSE(parse_dmarc_record("v=dmarc1; p=none").has_value());
  CHECK(parse_dmarc_record("v=DMARC1; p=often; rua=mailto:a@example.org")->policy ==
        DmarcPolicy::kNone);
  const auto record = parse_dmarc_record(
      "v=DMARC1 ; P=Reject;sp=quarantine; adkim=s; aspf=x; pct=200; moo; "
      "rua=mailto:a@b,x,mailto:c");
  REQUIRE(record.has_value());
  CHECK(record->policy == DmarcPolicy::kReject);
  CHECK(record->subdomain_policy == DmarcPolicy::kQuarantine);
  CHECK(record->dkim == Alignment::kStrict);
  CHECK(record->spf == Alignment::kRelaxed);
  CHECK(record->percent == 100);
  CHECK(record->aggregate_reports == std::vector<std::string>{"mailto:a@b", "mailto:c"});
}

TEST_CASE("alignment decides, strict and relaxed, below whatever public suffix") {
  struct Case {
    std::string_view from, record;
    DmarcRequest (*how)(DmarcRequest);
    Verdict verdict;
  };
  const auto c = GENERATE(values<Case>({
      {"a@example.co.uk", "p=reject",
       [](DmarcRequest r) { return with_spf(std::move(r), "mail.example.co.uk"); }, Verdict::kPass},
      {"a@example.co.uk", "p=reject",
       [](DmarcRequest r) { return with_spf(std::move(r), "other.co.uk"); }, Verdict::kFail},
      {"a@example.co.uk", "p=reject; aspf=s",
       [](DmarcRequest r) { return with_spf(std::move(r), "mail.example.co.uk"); }, Verdict::kFail},
      {"a@Example.co.uk", "p=reject; aspf=s",
       [](DmarcRequest r) { return with_spf(std::move(r), "example.CO.uk"); }, Verdict::kPass},
      {"a@example.co.uk", "p=reject",
       [](DmarcRequest r) { return with_spf(std::move(r), "example.co.uk", SpfResult::kSoftfail); },
       Verdict::kFail},
      {"a@example.co.uk", "p=reject",
       [](DmarcRequest r) { return with_dkim(std::move(r), "example.co.uk"); }, Verdict::kPass},
      {"a@example.co.uk", "p=reject; adkim=s",
       [](DmarcRequest r) { return with_dkim(std::move(r), "d.example.co.uk"); }, Verdict::kFail},
      {"a@example.co.uk", "p=reject",
       [](DmarcRequest r) { return with_dkim(std::move(r), "co.uk"); }, Verdict::kFail},
      {"a@example.co.uk", "p=reject",
       [](DmarcRequest r) { return with_dkim(std::move(r), "example.co.uk", Verdict::kTemperror); },
       Verdict::kTemperror},
      {"a@example.co.uk", "p=reject",
       [](DmarcRequest r) { return with_dkim(std::move(r), "other.example", Verdict::kTemperror); },
       Verdict::kFail},
  }));
  TableDns dns;
  dns.add("_dmarc.example.co.uk", RecordType::kTxt, "v=DMARC1; " + std::string(c.record));
  INFO(c.from << " " << c.record);
  const auto verdict = check(dns, c.how(request_for(fmt::format("From: <{}>\n", c.from))));
  CHECK(verdict.verdict == c.verdict);
  if (c.verdict == Verdict::kFail) CHECK(verdict.disposition == DmarcPolicy::kReject);
}

TEST_CASE("a subdomain has sp=, one that does not exist np=") {
  TableDns dns;
  dns.add("_dmarc.example.org", RecordType::kTxt, "v=DMARC1; p=none; sp=quarantine; np=reject");
  dns.add("there.example.org", RecordType::kA, "192.0.2.1");
  CHECK(check(dns, request_for("From: a@example.org\n")).disposition == DmarcPolicy::kNone);
  CHECK(check(dns, request_for("From: a@there.example.org\n")).disposition ==
        DmarcPolicy::kQuarantine);
  CHECK(check(dns, request_for("From: a@gone.example.org\n")).disposition == DmarcPolicy::kReject);
}

TEST_CASE("pct= spares a share of the mail, one step") {
  TableDns dns;
  dns.add("_dmarc.example.org", RecordType::kTxt, "v=DMARC1; p=reject; pct=30");
  DmarcRequest request = request_for("From: a@example.org\n");
  request.sample = 29;
  CHECK(check(dns, request).disposition == DmarcPolicy::kReject);
  request.sample = 30;
  CHECK(check(dns, request).disposition == DmarcPolicy::kQuarantine);
}

TEST_CASE("an odd From never passes, and the strictest policy applies") {
  const auto header = GENERATE(values<std::string_view>({
      "From: a@example.org\nFrom: a@example.org\n",
      "From: a@example.org, b@other.example\n",
      "From: a@example.org, b\n",
      "From: a@example.org\nFrom: <>\n",
      "From: a@example.org, b@ex\xc3\xa4mple.org\n",
  }));
  TableDns dns;
  dns.add("_dmarc.example.org", RecordType::kTxt, "v=DMARC1; p=reject");
  const auto verdict = check(dns, with_spf(request_for(header), "example.org"));
  INFO(header);
  CHECK(verdict.verdict == Verdict::kFail);
  CHECK(verdict.disposition == DmarcPolicy::kReject);
  CHECK(check(dns, request_for("Subject: none\n")).verdict == Verdict::kPermerror);
}

TEST_CASE("no policy, several, or no answer: nothing is asked for") {
  TableDns dns;
  dns.add("_dmarc.two.example", RecordType::kTxt, "v=DMARC1; p=reject");
  dns.add("_dmarc.two.example", RecordType::kTxt, "v=DMARC1; p=none");
  dns.add("_dmarc.other.example", RecordType::kTxt, "v=spf1 -all");
  dns.fail("_dmarc.dead.example");
  CHECK(check(dns, request_for("From: a@two.example\n")).verdict == Verdict::kNone);
  CHECK(check(dns, request_for("From: a@other.example\n")).verdict == Verdict::kNone);
  const auto dead = check(dns, request_for("From: a@dead.example\n"));
  CHECK(dead.verdict == Verdict::kTemperror);
  CHECK(dead.disposition == DmarcPolicy::kNone);
}

TEST_CASE("the tree walk finds the policy without a list of suffixes") {
  TableDns dns;
  dns.add("_dmarc.example.org", RecordType::kTxt, "v=DMARC1; p=reject");
  dns.add("_dmarc.bank.test", RecordType::kTxt, "v=DMARC1; p=quarantine; psd=y");
  DmarcRequest request = request_for("From: x@a.b.example.org\n");
  request.discovery = DmarcDiscovery::kTreeWalk;
  CHECK(check(dns, request).policy_domain == "example.org");
  CHECK(check(dns, with_spf(request, "c.example.org")).verdict == Verdict::kPass);
  // Below a public suffix that says so, each name is its own organisation.
  DmarcRequest bank = request_for("From: x@one.bank.test\n");
  bank.discovery = DmarcDiscovery::kTreeWalk;
  CHECK(check(dns, with_spf(bank, "m.one.bank.test")).verdict == Verdict::kPass);
  CHECK(check(dns, with_spf(bank, "two.bank.test")).verdict == Verdict::kFail);
  // However many labels: at most 8 questions.
  dns.questions = 0;
  DmarcRequest deep = request_for("From: x@a.b.c.d.e.f.g.h.i.j.k.l.m.example.net\n");
  deep.discovery = DmarcDiscovery::kTreeWalk;
  CHECK(check(dns, deep).verdict == Verdict::kNone);
  CHECK(dns.questions <= 9);
}

TEST_CASE("an internationalised From is looked up and compared by its A-labels") {
  const auto author =
      author_domains(mail::split_header("From: <j\u00fcrgen@B\u00fccher.example>\n"));
  CHECK_FALSE(author.is_odd);
  CHECK(author.domains == std::vector<std::string>{"xn--bcher-kva.example"});
  CHECK(author_domains(mail::split_header("From: <a@\xff.example>\n")).is_odd);
  TableDns dns;
  dns.add("_dmarc.xn--bcher-kva.example", RecordType::kTxt, "v=DMARC1; p=reject");
  const auto request = request_for("From: <a@b\u00fccher.example>\n");
  CHECK(check(dns, request).verdict == Verdict::kFail);
  CHECK(check(dns, with_spf(request, "xn--bcher-kva.example")).verdict == Verdict::kPass);
}

}  // namespace postern::mailauth
