#include "common/tls/policy.h"

#include <openssl/ssl.h>

#include <catch2/catch.hpp>

namespace postern::tls {

TEST_CASE("protocols are understood in every spelling that postconf(5) has had") {
  struct Case {
    std::string_view text;
    bool v1, v11, v12, v13;
  };
  const auto c = GENERATE(values<Case>({
      {"", true, true, true, true},
      {">=TLSv1", true, true, true, true},
      {">=TLSv1.2", false, false, true, true},
      {">=0303", false, false, true, true},
      {">=0x0304", false, false, false, true},
      {"<=TLSv1.2", true, true, true, false},
      {">=TLSv1.1 <=TLSv1.2", false, true, true, false},
      {">=TLSv1.1, <=TLSv1.2", false, true, true, false},
      {"!SSLv2", true, true, true, true},
      {"!SSLv2,!SSLv3", true, true, true, true},
      {"!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", false, false, true, true},
      {"!SSLv2:!SSLv3:!TLSv1", false, true, true, true},
      {"TLSv1.2", false, false, true, false},
      {"tlsv1.2, TLSv1.3", false, false, true, true},
      {"SSLv3, TLSv1", true, false, false, false},
      {"TLSv1.0", true, false, false, false},
      {">=TLSv1.1, !TLSv1.2", false, true, false, true},
  }));
  INFO(c.text);
  const auto protocols = parse_protocols(c.text);
  REQUIRE(protocols);
  CHECK(protocols->allows(TLS1_VERSION) == c.v1);
  CHECK(protocols->allows(TLS1_1_VERSION) == c.v11);
  CHECK(protocols->allows(TLS1_2_VERSION) == c.v12);
  CHECK(protocols->allows(TLS1_3_VERSION) == c.v13);
}

TEST_CASE("protocols that nobody knows, or that leave none, are refused") {
  const auto* const text =
      GENERATE("TLSv9", "!TLSv9", ">=SSLv9", "<=", ">=0500", ">=TLSv1.3 <=TLSv1.2",
               "!SSLv3 !TLSv1 !TLSv1.1 !TLSv1.2 !TLSv1.3");
  INFO(text);
  CHECK_FALSE(parse_protocols(text));
}

TEST_CASE("a cipher grade is its list without what is excluded") {
  const CipherLists lists{"HIGH", "HIGH:MEDIUM", "LOW", "EXPORT", "eNULL"};
  const std::vector<std::string> none;
  CHECK(cipher_string(lists, "high", none).value() == "HIGH");
  CHECK(cipher_string(lists, "Medium", none).value() == "HIGH:MEDIUM");
  CHECK(cipher_string(lists, "export", none).value() == "EXPORT");
  const std::vector<std::string> some = {"aNULL", "MD5:RC4", "!3DES", "kDHE+aRSA"};
  CHECK(cipher_string(lists, "null", some).value() == "eNULL:!aNULL:!MD5:!RC4:!3DES:!kDHE+aRSA");
  CHECK_FALSE(cipher_string(lists, "best", none));
  const std::vector<std::string> bad = {"@SECLEVEL=0"};
  CHECK_FALSE(cipher_string(lists, "high", bad));
}

TEST_CASE("options and workarounds are names or bits") {
  const std::vector<std::string> options = {"NO_RENEGOTIATION", "no_ticket"};
  CHECK(parse_ssl_options(options).value() == (SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET));
  CHECK(parse_ssl_options(std::vector<std::string>{"0x4000"}).value() == 0x4000);
  CHECK_FALSE(parse_ssl_options(std::vector<std::string>{"NO_SUCH"}));
  const std::vector<std::string> workarounds = {"CVE-2010-4180", "TLSEXT_PADDING"};
  CHECK(parse_workarounds(workarounds).value() == SSL_OP_TLSEXT_PADDING);
  CHECK_FALSE(parse_workarounds(std::vector<std::string>{"NO_SUCH"}));
}

TEST_CASE("curves that the library lacks are left out") {
  const std::vector<std::string> names = {"X25519", "no-such-curve", "prime256v1"};
  CHECK(usable_groups(names) == "X25519:prime256v1");
}

TEST_CASE("names match by label, below a domain, and through wildcards") {
  struct Case {
    std::string_view wanted, presented;
    bool many, matches;
  };
  const auto c = GENERATE(values<Case>({
      {"mx.example.com", "mx.example.com", false, true},
      {"mx.example.com", "MX.Example.COM.", false, true},
      {"mx.example.com", "mx.example.org", false, false},
      {"mx.example.com", "*.example.com", false, true},
      {"a.mx.example.com", "*.example.com", false, false},
      {"a.mx.example.com", "*.example.com", true, true},
      {"example.com", "*.example.com", true, false},
      {"example.com", "*.com", true, false},
      {"mx.example.com", "m*.example.com", true, false},
      {".example.com", "mx.example.com", false, true},
      {".example.com", "a.mx.example.com", false, true},
      {".example.com", "example.com", false, false},
      {".example.com", "badexample.com", false, false},
      {".example.com", "*.example.com", false, true},
      {"", "mx.example.com", true, false},
      {"mx.example.com", "", true, false},
  }));
  INFO(c.wanted << " against " << c.presented);
  CHECK(matches_name(c.wanted, c.presented, c.many) == c.matches);
}

}  // namespace postern::tls
