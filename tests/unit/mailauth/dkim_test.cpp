#include "common/mailauth/dkim.h"

#include <catch2/catch.hpp>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "tests/support/table_dns.h"

namespace postern::mailauth {

namespace {

using dns::RecordType;
constexpr std::int64_t kNow = 1'700'000'000;

class KeySigner final : public Signer {
 public:
  explicit KeySigner(const PrivateKey& key) : key_(key) {}
  loop::Task<Result<std::string>> sign(std::string /*key*/, SignAlgorithm /*algorithm*/,
                                       std::string bytes) override {
    co_return key_.sign(bytes);
  }

 private:
  const PrivateKey& key_;
};

const PrivateKey& rsa_key() {
  static const PrivateKey key = PrivateKey::make(SignAlgorithm::kRsaSha256, 2048).value();
  return key;
}
const PrivateKey& ed_key() {
  static const PrivateKey key = PrivateKey::make(SignAlgorithm::kEd25519Sha256).value();
  return key;
}

std::string record_of(const PrivateKey& key, std::string_view more = "") {
  const bool is_rsa = key.algorithm() == SignAlgorithm::kRsaSha256;
  return fmt::format("v=DKIM1; k={}; {}p={}", is_rsa ? "rsa" : "ed25519", more,
                     base64_encode(key.public_bytes()));
}

struct Mail {
  std::string header = "From: Alice <alice@example.org>\nTo: bob@example.net\nSubject: a  test\n";
  std::string body = "Hello,\n\nthis is  a test. \n\n\n";
};

std::vector<DkimResult> verify(TableDns& dns, const Mail& mail, std::int64_t now = kNow,
                               DkimLimits limits = {}) {
  const auto fields = mail::split_header(mail.header);
  DkimVerifier verifier(fields, now, limits);
  BodyHashes hashes;
  verifier.plan(hashes);
  hashes.append(mail.body);
  hashes.finish();
  return result_of(verifier.verify(dns, hashes));
}

DkimSigning how(const PrivateKey& key) {
  DkimSigning signing;
  signing.algorithm = key.algorithm();
  signing.domain = "example.org";
  signing.selector = "s";
  signing.fields = default_signed_fields();
  signing.oversigned = {"from", "subject"};
  signing.now = kNow;
  return signing;
}

Mail signed_mail(const PrivateKey& key, DkimSigning signing, Mail mail = {}) {
  const auto fields = mail::split_header(mail.header);
  DkimSignature signature(fields, std::move(signing));
  BodyHashes hashes;
  signature.plan(hashes);
  hashes.append(mail.body);
  hashes.finish();
  KeySigner signer(key);
  mail.header = result_of(signature.sign(signer, hashes)).value() + "\n" + mail.header;
  return mail;
}

TableDns& good_dns() {
  static TableDns dns;
  static const bool is_filled = [] {
    dns.add("s._domainkey.example.org", RecordType::kTxt, record_of(rsa_key()));
    dns.add("e._domainkey.example.org", RecordType::kTxt, record_of(ed_key()));
    return true;
  }();
  static_cast<void>(is_filled);
  return dns;
}

std::string canonical_body(std::string_view body, Canon canon, std::size_t piece) {
  BodyCanon form(canon);
  std::string out;
  for (std::size_t at = 0; at < body.size(); at += piece) form.append(body.substr(at, piece), out);
  form.finish(out);
  return out;
}

}  // namespace

TEST_CASE("the canonical body is what RFC 6376 3.4 says, in whatever pieces it comes") {
  struct Case {
    std::string_view body, simple, relaxed;
  };
  const auto c = GENERATE(values<Case>({
      {" C \nD \t E\n\n\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
      {"", "\r\n", ""},
      {"\n\n\n", "\r\n", ""},
      {" \n", " \r\n", ""},
      {"x", "x\r\n", "x\r\n"},
      {"\n\nx\n\ny\n", "\r\n\r\nx\r\n\r\ny\r\n", "\r\n\r\nx\r\n\r\ny\r\n"},
      {"a  b\t\tc  \n\t\nd", "a  b\t\tc  \r\n\t\r\nd\r\n", "a b c\r\n\r\nd\r\n"},
      {"  x", "  x\r\n", " x\r\n"},
  }));
  const auto piece = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{1000});
  INFO(c.body << " in pieces of " << piece);
  CHECK(canonical_body(c.body, Canon::kSimple, piece) == c.simple);
  CHECK(canonical_body(c.body, Canon::kRelaxed, piece) == c.relaxed);
}

TEST_CASE("canonical header fields are those of RFC 6376 3.4.5") {
  std::string out;
  const auto field = mail::parse_field("B : Y\t\n\tZ  ");
  append_canonical_field(out, *field, Canon::kRelaxed);
  CHECK(out == "b:Y Z");
  out.clear();
  append_canonical_field(out, *field, Canon::kSimple);
  CHECK(out == "B : Y\t\r\n\tZ  ");
}

TEST_CASE("lines that the SMTP client breaks are hashed as they will be sent") {
  BodyHashes broken;
  broken.break_lines(10);
  const std::size_t which = broken.want(Canon::kSimple);
  const std::string line = "0123456789abcdefghijklm\nshort\n0123456789\n";
  for (const char c : line) broken.append({&c, 1});
  broken.finish();
  CHECK(broken.digest(which) ==
        sha256("0123456789\r\n abcdefghi\r\n jklm\r\nshort\r\n0123456789\r\n"));
}

TEST_CASE("what we sign verifies, in each form and with each algorithm") {
  const auto header_canon = GENERATE(Canon::kSimple, Canon::kRelaxed);
  const auto body_canon = GENERATE(Canon::kSimple, Canon::kRelaxed);
  const bool is_rsa = GENERATE(true, false);
  const PrivateKey& key = is_rsa ? rsa_key() : ed_key();
  DkimSigning signing = how(key);
  signing.selector = is_rsa ? "s" : "e";
  signing.header_canon = header_canon;
  signing.body_canon = body_canon;
  signing.lifetime = std::chrono::hours(1);
  const Mail mail = signed_mail(key, signing);
  const auto results = verify(good_dns(), mail);
  REQUIRE(results.size() == 1);
  INFO(results[0].problem << "\n" << mail.header);
  CHECK(results[0].verdict == Verdict::kPass);
  CHECK(results[0].domain == "example.org");
  for (const auto& line : split_fields(mail.header, '\n')) CHECK(line.size() <= 78);
}

TEST_CASE("a changed message does not verify") {
  const Mail mail = signed_mail(rsa_key(), how(rsa_key()));
  SECTION("body") {
    Mail changed = mail;
    changed.body += "more\n";
    CHECK(verify(good_dns(), changed)[0].problem == "body hash did not verify");
  }
  SECTION("a signed field") {
    Mail changed = mail;
    changed.header = replace_all(changed.header, "a  test", "a jest");
    CHECK(verify(good_dns(), changed)[0].verdict == Verdict::kFail);
  }
  SECTION("another field of an oversigned name") {
    Mail changed = mail;
    changed.header = "Subject: other\n" + changed.header;
    CHECK(verify(good_dns(), changed)[0].verdict == Verdict::kFail);
  }
  SECTION("a field that was not signed may come along") {
    Mail changed = mail;
    changed.header = "X-Spam: no\n" + changed.header;
    CHECK(verify(good_dns(), changed)[0].verdict == Verdict::kPass);
  }
  SECTION("time") {
    DkimSigning signing = how(rsa_key());
    signing.lifetime = std::chrono::seconds(10);
    const Mail timed = signed_mail(rsa_key(), signing);
    CHECK(verify(good_dns(), timed, kNow + 10)[0].verdict == Verdict::kPass);
    CHECK(verify(good_dns(), timed, kNow + 11)[0].verdict == Verdict::kFail);
  }
}

TEST_CASE("signatures that never pass, though the cryptography would") {
  struct Case {
    std::string_view from, to;
    Verdict verdict;
  };
  // Each changes the field after signing, so it must be refused before the signature is looked at.
  const auto c = GENERATE(values<Case>({
      {"a=rsa-sha256", "a=rsa-sha1", Verdict::kPermerror},
      {"v=1", "v=2", Verdict::kPermerror},
      {"\n\tbh=", "\n\tl=3; bh=", Verdict::kPolicy},
      {"d=example.org", "d=example.org; i=@other.example", Verdict::kPermerror},
      {"h=from:subject:to:from:subject", "h=subject:to:subject", Verdict::kPermerror},
      {"s=s;", "s=none;", Verdict::kPermerror},
      {"v=1;", "v=1; v=1;", Verdict::kPermerror},
      {"v=1;", "v=1; q=http;", Verdict::kPermerror},
      {"c=relaxed/simple", "c=nofws/simple", Verdict::kPermerror},
  }));
  Mail mail = signed_mail(rsa_key(), how(rsa_key()));
  const std::string before = mail.header;
  mail.header = replace_all(mail.header, c.from, c.to);
  INFO(c.to);
  REQUIRE(mail.header != before);
  CHECK(verify(good_dns(), mail)[0].verdict == c.verdict);
}

TEST_CASE("a key record that does not fit never gives a pass") {
  struct Case {
    std::string_view more;
    Verdict verdict;
  };
  const auto c = GENERATE(values<Case>({
      {"h=sha1; ", Verdict::kPermerror},
      {"h=sha1:sha256; ", Verdict::kPass},
      {"s=tlsrpt; ", Verdict::kPermerror},
      {"s=email; ", Verdict::kPass},
      {"s=*; ", Verdict::kPass},
      {"t=y:s; ", Verdict::kPass},
  }));
  TableDns dns;
  dns.add("s._domainkey.example.org", RecordType::kTxt, record_of(rsa_key(), c.more));
  INFO(c.more);
  CHECK(verify(dns, signed_mail(rsa_key(), how(rsa_key())))[0].verdict == c.verdict);
}

TEST_CASE("a key is refused for its length, its type, or because it was revoked") {
  const Mail mail = signed_mail(rsa_key(), how(rsa_key()));
  TableDns dns;
  SECTION("length") {
    const auto small = PrivateKey::make(SignAlgorithm::kRsaSha256, 768).value();
    dns.add("s._domainkey.example.org", RecordType::kTxt, record_of(small));
    CHECK(verify(dns, signed_mail(small, how(small)))[0].problem == "the key is too short");
  }
  SECTION("type") {
    dns.add("s._domainkey.example.org", RecordType::kTxt, record_of(ed_key()));
    CHECK(verify(dns, mail)[0].problem == "the key is of another type");
  }
  SECTION("revoked") {
    dns.add("s._domainkey.example.org", RecordType::kTxt, "v=DKIM1; p=");
    CHECK(verify(dns, mail)[0].problem == "the key is revoked");
  }
  SECTION("strict, and i= is below d=") {
    DkimSigning signing = how(rsa_key());
    signing.identity = "alice@sub.example.org";
    const Mail below = signed_mail(rsa_key(), signing);
    CHECK(verify(good_dns(), below)[0].verdict == Verdict::kPass);
    dns.add("s._domainkey.example.org", RecordType::kTxt, record_of(rsa_key(), "t=s; "));
    CHECK(verify(dns, below)[0].verdict == Verdict::kPermerror);
  }
  SECTION("nobody answers") {
    dns.fail("s._domainkey.example.org");
    CHECK(verify(dns, mail)[0].verdict == Verdict::kTemperror);
  }
}

TEST_CASE("every signature has a result, and only so many are verified") {
  Mail mail = signed_mail(rsa_key(), how(rsa_key()));
  const std::size_t end = mail.header.find("From:");
  const std::string signature = mail.header.substr(0, end);
  for (int i = 0; i < 4; ++i) mail.header = signature + mail.header;
  const auto results = verify(good_dns(), mail, kNow, {.verified = 3, .reported = 4});
  REQUIRE(results.size() == 4);
  CHECK(results[2].verdict == Verdict::kPass);
  CHECK(results[3].verdict == Verdict::kNeutral);
}

// RFC 8463 appendix A: one message, signed with both algorithms.
TEST_CASE("the example of RFC 8463 verifies") {
  TableDns dns;
  dns.add("brisbane._domainkey.football.example.com", RecordType::kTxt,
          "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
  dns.add(
      "test._domainkey.football.example.com", RecordType::kTxt,
      "v=DKIM1; k=rsa; "
      "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQ"
      "iY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyV"
      "YLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB");
  Mail mail;
  mail.header =
      "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\n"
      " d=football.example.com; i=@football.example.com;\n"
      " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\n"
      " subject : date : message-id : from : subject : date;\n"
      " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n"
      " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\n"
      " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\n"
      "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\n"
      " d=football.example.com; i=@football.example.com;\n"
      " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\n"
      " date : message-id : from : subject : date;\n"
      " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n"
      " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\n"
      " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\n"
      " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\n"
      "From: Joe SixPack <joe@football.example.com>\n"
      "To: Suzie Q <suzie@shopping.example.net>\n"
      "Subject: Is dinner ready?\n"
      "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\n"
      "Message-ID: <20030712040037.46341.5F8J@football.example.com>\n";
  mail.body = "Hi.\n\nWe lost the game.  Are you hungry yet?\n\nJoe.\n";
  const auto results = verify(dns, mail, 1'528'637'910);
  REQUIRE(results.size() == 2);
  CHECK(results[0].problem.empty());
  CHECK(results[0].verdict == Verdict::kPass);
  CHECK(results[1].problem.empty());
  CHECK(results[1].verdict == Verdict::kPass);
}

// RFC 6376 appendix A.2.
TEST_CASE("the example of RFC 6376 verifies") {
  TableDns dns;
  dns.add("brisbane._domainkey.example.com", RecordType::kTxt,
          "v=DKIM1; "
          "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
          "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfV"
          "jH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB");
  Mail mail;
  mail.header =
      "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\n"
      "      c=simple/simple; q=dns/txt; i=joe@football.example.com;\n"
      "      h=Received : From : To : Subject : Date : Message-ID;\n"
      "      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n"
      "      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\n"
      "      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\n"
      "      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\n"
      "      4bmp/YzhwvcubU4=;\n"
      "Received: from client1.football.example.com  [192.0.2.1]\n"
      "      by submitserver.example.com with SUBMISSION;\n"
      "      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\n"
      "From: Joe SixPack <joe@football.example.com>\n"
      "To: Suzie Q <suzie@shopping.example.net>\n"
      "Subject: Is dinner ready?\n"
      "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\n"
      "Message-ID: <20030712040037.46341.5F8J@football.example.com>\n";
  mail.body = "Hi.\n\nWe lost the game. Are you hungry yet?\n\nJoe.\n";
  const auto results = verify(dns, mail);
  REQUIRE(results.size() == 1);
  CHECK(results[0].problem.empty());
  CHECK(results[0].verdict == Verdict::kPass);
}

TEST_CASE("U-labels in d= and i= are looked up as A-labels") {
  const std::string block =
      "v=1; a=rsa-sha256; d=b\u00fccher.example; s=s; i=a@mail.B\u00fccher.example; h=from; "
      "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; "
      "b=YQ==";
  const auto tags = TagList::parse(block);
  REQUIRE(tags.has_value());
  Signature seen;
  const auto refusal = parse_signature(*tags, SignatureKind::kDkim, seen);
  INFO((refusal ? refusal->problem : ""));
  CHECK_FALSE(refusal.has_value());
  CHECK(seen.domain == "xn--bcher-kva.example");
}

}  // namespace postern::mailauth
