#include "common/smtpclient/tls_policy.h"

#include <catch2/catch.hpp>

namespace postern::smtpclient {

namespace {

config::TlsParams stock() {
  config::TlsParams params;
  params.smtp_tls_protocols = ">=TLSv1";
  params.smtp_tls_mandatory_protocols = ">=TLSv1.2";
  params.smtp_tls_ciphers = "medium";
  params.smtp_tls_mandatory_ciphers = "high";
  params.smtp_tls_exclude_ciphers = {"aNULL"};
  params.smtp_tls_mandatory_exclude_ciphers = {"RC4"};
  params.smtp_tls_verify_cert_match = {"hostname"};
  params.smtp_tls_secure_cert_match = {"nexthop", "dot-nexthop"};
  params.smtp_tls_enforce_peername = true;
  return params;
}

std::vector<std::string> texts(const std::vector<ipc::tables::Key>& keys) {
  std::vector<std::string> out;
  for (const auto& key : keys) out.push_back(key.text);
  return out;
}

}  // namespace

TEST_CASE("main.cf's level comes from the new parameter, else from the old ones") {
  struct Case {
    std::string_view level;
    bool use, enforce, peername;
    TlsLevel expected;
  };
  const auto c = GENERATE(values<Case>({
      {"", false, false, true, TlsLevel::kNone},
      {"", true, false, true, TlsLevel::kMay},
      {"", true, true, true, TlsLevel::kVerify},
      {"", false, true, false, TlsLevel::kEncrypt},
      {"none", true, true, true, TlsLevel::kNone},
      {"may", false, true, true, TlsLevel::kMay},
      {"dane", false, false, true, TlsLevel::kDane},
      {"dane-only", false, false, true, TlsLevel::kDaneOnly},
      {"secure", false, false, true, TlsLevel::kSecure},
  }));
  auto params = stock();
  params.smtp_tls_security_level = c.level;
  params.smtp_use_tls = c.use;
  params.smtp_enforce_tls = c.enforce;
  params.smtp_tls_enforce_peername = c.peername;
  INFO(c.level);
  CHECK(default_tls_policy(params).value().level == c.expected);
}

TEST_CASE("what main.cf cannot have is an error, never less secrecy") {
  auto params = stock();
  SECTION("an unknown level") { params.smtp_tls_security_level = "encrpyt"; }
  SECTION("wrapper mode without TLS") { params.smtp_tls_wrappermode = true; }
  SECTION("wrapper mode with optional TLS") {
    params.smtp_tls_wrappermode = true;
    params.smtp_tls_security_level = "may";
  }
  SECTION("fingerprint without a fingerprint") { params.smtp_tls_security_level = "fingerprint"; }
  CHECK_FALSE(default_tls_policy(params).has_value());
}

TEST_CASE("a level takes the parameters that belong to it") {
  const auto params = stock();
  const auto may = parse_tls_policy("may", params).value();
  CHECK(may.protocols == ">=TLSv1");
  CHECK(may.ciphers == "medium");
  CHECK(may.exclude == std::vector<std::string>{"aNULL"});
  CHECK(may.match.empty());

  const auto secure = parse_tls_policy("secure", params).value();
  CHECK(secure.protocols == ">=TLSv1.2");
  CHECK(secure.ciphers == "high");
  CHECK(secure.exclude == std::vector<std::string>{"aNULL", "RC4"});
  CHECK(secure.match == std::vector<std::string>{"nexthop", "dot-nexthop"});
}

TEST_CASE("attributes of a policy override main.cf") {
  const auto params = stock();
  const auto policy = parse_tls_policy(
                          "SECURE match=mx.a.test:.b.test, protocols=!SSLv2:!SSLv3 ciphers=medium "
                          "{ exclude = 3DES : MD5 } servername=hostname tafile=/etc/ta.pem "
                          "connection_reuse=yes",
                          params)
                          .value();
  CHECK(policy.level == TlsLevel::kSecure);
  CHECK(policy.match == std::vector<std::string>{"mx.a.test", ".b.test"});
  CHECK(policy.protocols == "!SSLv2:!SSLv3");
  CHECK(policy.ciphers == "medium");
  CHECK(policy.exclude == std::vector<std::string>{"3DES", "MD5"});
  CHECK(policy.servername == "hostname");
  CHECK(policy.trust_anchor_file == "/etc/ta.pem");
  CHECK(policy.connection_reuse);

  const auto pins = parse_tls_policy("fingerprint match=aa:bb|cc:dd match=ee:ff", params).value();
  CHECK(pins.match == std::vector<std::string>{"aa:bb", "cc:dd", "ee:ff"});
}

TEST_CASE("a policy that makes no sense is refused with its reason") {
  struct Case {
    std::string_view entry, text;
  };
  const auto c = GENERATE(values<Case>({
      {"", "no TLS security level"},
      {"  , ", "no TLS security level"},
      {"strong", "invalid security level \"strong\""},
      {"may match=x", "\"match\" has no meaning at level may"},
      {"encrypt tafile=/x", "\"tafile\" has no meaning at level encrypt"},
      {"secure match", "\"match\" is not name=value"},
      {"secure match=", "\"match=\" has no value"},
      {"verify mach=hostname", "invalid attribute name: \"mach\""},
      {"fingerprint", "level fingerprint needs at least one fingerprint to match"},
      {"encrypt connection_reuse=maybe", "connection_reuse=maybe is neither yes nor no"},
  }));
  const auto policy = parse_tls_policy(c.entry, stock());
  INFO(c.entry);
  REQUIRE_FALSE(policy.has_value());
  CHECK(policy.error().text == c.text);
}

TEST_CASE("a next hop is looked up as written, a domain with its parents") {
  using Keys = std::vector<std::string>;
  CHECK(texts(tls_policy_keys("Mail.Example.Org")) ==
        Keys{"mail.example.org", ".example.org", ".org"});
  CHECK(texts(tls_policy_keys("[mail.example.org]")) == Keys{"[mail.example.org]"});
  CHECK(texts(tls_policy_keys("[192.0.2.1]:587")) == Keys{"[192.0.2.1]:587"});
  CHECK(texts(tls_policy_keys("example.org:25")) == Keys{"example.org:25"});
  CHECK(texts(tls_policy_keys("192.0.2.1")) == Keys{"192.0.2.1"});
}

TEST_CASE("keywords of match stand for the names of the delivery") {
  TlsPolicy policy;
  policy.match = {"hostname", "nexthop", "dot-nexthop", "Other.Test"};
  CHECK(names_to_match(policy, "Example.org", "mx1.example.net.") ==
        std::vector<std::string>{"mx1.example.net", "example.org", ".example.org", "other.test"});
}

TEST_CASE("an address is never sent as a server name") {
  TlsPolicy policy;
  CHECK(server_name_of(policy, "example.org", "mx.test").empty());
  policy.servername = "hostname";
  CHECK(server_name_of(policy, "example.org", "mx.test") == "mx.test");
  CHECK(server_name_of(policy, "example.org", "192.0.2.1").empty());
  policy.servername = "nexthop";
  CHECK(server_name_of(policy, "Example.org.", "mx.test") == "example.org");
  policy.servername = "sni.test";
  CHECK(server_name_of(policy, "example.org", "mx.test") == "sni.test");
}

TEST_CASE("the old table of sites: the stricter result counts, but NONE goes before MAY") {
  struct Case {
    std::vector<std::string> results;
    TlsLevel level;
  };
  const auto c = GENERATE(values<Case>({
      {{}, TlsLevel::kDane},
      {{"NONE"}, TlsLevel::kNone},
      {{"may"}, TlsLevel::kMay},
      {{"MAY", "NONE"}, TlsLevel::kNone},
      {{"NONE", "MAY"}, TlsLevel::kNone},
      {{"NONE", "MUST_NOPEERMATCH"}, TlsLevel::kEncrypt},
      {{"MUST", "MUST_NOPEERMATCH"}, TlsLevel::kVerify},
      {{"MUST", "NONE"}, TlsLevel::kVerify},
  }));
  TlsPolicy policy;
  policy.level = TlsLevel::kDane;
  CHECK(policy_of_sites(policy, c.results, {})->level == c.level);
  CHECK_FALSE(policy_of_sites(policy, {"PERHAPS"}, {}).has_value());
}

TEST_CASE("attributes that speak of the domain's own policy are for the TLS report") {
  const auto policy = parse_tls_policy(
      "secure match=mx.example.org servername=hostname policy_type=sts policy_domain=Example.org "
      "policy_ttl=86400 mx_host_pattern=mx.example.org { policy_string = version: STSv1 } "
      "{ policy_string = mode: enforce }",
      {});
  REQUIRE(policy.has_value());
  CHECK(policy->reported ==
        ReportedPolicy{
            "sts", "example.org", {"version: STSv1", "mode: enforce"}, {"mx.example.org"}});
}

}  // namespace postern::smtpclient
