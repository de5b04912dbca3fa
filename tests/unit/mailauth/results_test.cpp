#include "common/mailauth/results_header.h"

#include <catch2/catch.hpp>

namespace postern::mailauth {

TEST_CASE("results are written as RFC 8601 has them") {
  ResultsHeader header("mx.example.net");
  CHECK(header.value() == "mx.example.net; none");
  SpfVerdict spf;
  spf.result = SpfResult::kPass;
  header.add_spf(spf, SpfIdentity::kMailFrom, "a@example.org");
  DkimResult dkim;
  dkim.verdict = Verdict::kFail;
  dkim.problem = "body hash did not verify";
  dkim.domain = "example.org";
  dkim.identity = "a@example.org";
  dkim.selector = "s";
  dkim.algorithm = "rsa-sha256";
  dkim.signature_start = "AbC/+123";
  header.add_dkim(dkim);
  DmarcVerdict dmarc;
  dmarc.verdict = Verdict::kFail;
  dmarc.policy = DmarcPolicy::kReject;
  dmarc.disposition = DmarcPolicy::kQuarantine;
  dmarc.policy_domain = "example.org";
  dmarc.from_domain = "example.org";
  header.add_dmarc(dmarc);
  ArcVerdict arc;
  arc.verdict = Verdict::kPass;
  arc.instance = 2;
  header.add_arc(arc);
  CHECK(header.value() ==
        "mx.example.net;\n\tspf=pass smtp.mailfrom=a@example.org;\n\tdkim=fail (body hash did not "
        "verify) header.d=example.org header.i=a@example.org header.s=s header.a=rsa-sha256 "
        "header.b=\"AbC/+123\";\n\tdmarc=fail (p=reject dis=quarantine) "
        "header.from=example.org;\n\tarc=pass (i=2)");
}

TEST_CASE("no byte of somebody else ends the field or adds a result") {
  ResultsHeader header("mx.example.net");
  SpfVerdict spf;
  spf.result = SpfResult::kPermerror;
  spf.problem = "bad (x\n) ; dkim=pass";
  header.add_spf(spf, SpfIdentity::kHelo, "a; dkim=pass \"x\"\n");
  CHECK(header.value() ==
        "mx.example.net;\n\tspf=permerror (bad ?x?? ; dkim=pass) smtp.helo=\"a; dkim=pass "
        "\\\"x\\\"\"");
  CHECK_FALSE(find_result(header.value(), "dkim").has_value());
}

TEST_CASE("fields in our name are found, however they are written") {
  struct Case {
    std::string_view value;
    bool forged;
  };
  const auto c = GENERATE(values<Case>({
      {"mx.example.net; dkim=pass", true},
      {" MX.Example.Net 1; dkim=pass", true},
      {"(comment (nested\\)) ) mx.example.net ; none", true},
      {"\"mx.example.net\"; spf=pass", true},
      {"other.example; spf=pass", false},
      {"mx.example.net.other.example; spf=pass", false},
      {"(mx.example.net; spf=pass", true},
      {"", true},
      {"; spf=pass", true},
  }));
  INFO(c.value);
  CHECK(is_forged_results(c.value, "mx.example.net") == c.forged);
}

TEST_CASE("a result is found by its method") {
  const std::string_view value =
      "x.example; spf=none (dmarc=pass); dmarc = FAIL (p=none); arc=pass";
  CHECK(find_result(value, "dmarc") == "fail");
  CHECK(find_result(value, "arc") == "pass");
  CHECK_FALSE(find_result(value, "dkim").has_value());
}

}  // namespace postern::mailauth
