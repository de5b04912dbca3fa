#include "common/mailauth/arc.h"

#include <catch2/catch.hpp>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "tests/support/table_dns.h"

namespace postern::mailauth {

namespace {

const PrivateKey& key() {
  static const PrivateKey made = PrivateKey::make(SignAlgorithm::kEd25519Sha256).value();
  return made;
}

class KeySigner final : public Signer {
 public:
  loop::Task<Result<std::string>> sign(std::string /*key*/, SignAlgorithm /*algorithm*/,
                                       std::string bytes) override {
    co_return key().sign(bytes);
  }
};

TableDns& dns() {
  static TableDns table;
  static const bool is_filled = [] {
    table.add("s._domainkey.hop.example", dns::RecordType::kTxt,
              "v=DKIM1; k=ed25519; p=" + base64_encode(key().public_bytes()));
    return true;
  }();
  static_cast<void>(is_filled);
  return table;
}

struct Judged {
  ArcVerdict verdict;
  std::string sealed;  // the whole header with a set more
};

constexpr std::string_view kBody = "Hello\n";

Judged judge(TableDns& answers, const std::string& header) {
  const auto fields = mail::split_header(header);
  ArcVerifier verifier(fields);
  DkimSigning how;
  how.algorithm = SignAlgorithm::kEd25519Sha256;
  how.domain = "hop.example";
  how.selector = "s";
  how.fields = default_signed_fields();
  how.now = 1'700'000'000;
  ArcSealing sealing(fields, verifier, how, "hop.example; spf=pass");
  BodyHashes hashes;
  verifier.plan(hashes);
  sealing.plan(hashes);
  hashes.append(kBody);
  hashes.finish();
  Judged judged;
  judged.verdict = result_of(verifier.verify(answers, hashes));
  KeySigner signer;
  const auto sealed = result_of(sealing.seal(signer, hashes, judged.verdict));
  judged.sealed = sealed.value() + header;
  return judged;
}

std::string chain_of(unsigned hops) {
  std::string header = "From: a@example.org\nSubject: x\n";
  for (unsigned i = 0; i < hops; ++i) header = judge(dns(), header).sealed;
  return header;
}

}  // namespace

TEST_CASE("a chain grows and verifies at each hop") {
  const unsigned hops = GENERATE(1U, 2U, 5U);
  const auto judged = judge(dns(), chain_of(hops));
  CHECK(judged.verdict.problem.empty());
  CHECK(judged.verdict.verdict == Verdict::kPass);
  CHECK(judged.verdict.instance == hops);
  CHECK(judged.verdict.sealers.size() == hops);
  CHECK(judged.verdict.results.back() == "hop.example; spf=pass");
}

TEST_CASE("a message without a chain has none, and can be sealed") {
  const auto judged = judge(dns(), "From: a@example.org\n");
  CHECK(judged.verdict.verdict == Verdict::kNone);
  CHECK(judged.sealed.find("cv=none") != std::string::npos);
}

TEST_CASE("a chain with something wrong fails") {
  struct Case {
    std::string_view from, to;
  };
  const auto c = GENERATE(values<Case>({
      {"spf=pass", "spf=fail"},
      {"cv=pass", "cv=none"},
      {"Subject: x", "Subject: y"},
      {"ARC-Seal: i=1", "ARC-Seal: i=3"},
      {"ARC-Seal: i=1", "X-Seal: i=1"},
      {"ARC-Message-Signature: i=2", "ARC-Message-Signature: i=1"},
      {"ARC-Seal: i=2", "ARC-Seal: i=51"},
      {"ARC-Seal: i=2; a=", "ARC-Seal: i=2; h=from; a="},
  }));
  const std::string header = chain_of(2);
  const std::string changed = replace_all(header, c.from, c.to);
  REQUIRE(changed != header);
  INFO(c.from << " to " << c.to);
  CHECK(judge(dns(), changed).verdict.verdict == Verdict::kFail);
}

TEST_CASE("a broken chain is sealed as broken once, and then left alone") {
  const std::string changed = replace_all(chain_of(2), "Subject: x", "Subject: y");
  const auto once = judge(dns(), changed);
  CHECK(once.sealed.find("i=3; a=ed25519-sha256; t=1700000000; cv=fail") != std::string::npos);
  const auto twice = judge(dns(), once.sealed);
  CHECK(twice.verdict.verdict == Verdict::kFail);
  CHECK(twice.sealed == once.sealed);
}

TEST_CASE("a chain that cannot be evaluated now is neither failed nor sealed") {
  TableDns dead;
  dead.fail("s._domainkey.hop.example");
  const std::string header = chain_of(1);
  const auto judged = judge(dead, header);
  CHECK(judged.verdict.verdict == Verdict::kTemperror);
  CHECK(judged.sealed == header);
}

}  // namespace postern::mailauth
