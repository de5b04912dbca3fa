#include <catch2/catch.hpp>

#include "keyring/purpose.h"
#include "keyring/srs_secrets.h"

namespace postern::keyring {

namespace {

using ipc::keyring::Purpose;
constexpr std::int64_t kRsa = 0x0401;

}  // namespace

TEST_CASE("keys of mail sign a header that ends with an unfinished signature, and nothing else") {
  struct Case {
    std::string_view bytes;
    bool is_dkim, is_arc;
  };
  const auto c = GENERATE(values<Case>({
      {"from:a@b\r\ndkim-signature:v=1; bh=x; b=", true, false},
      {"From: a@b\r\nDKIM-Signature: v=1;\r\n\th=from;\r\n\tb=", true, false},
      {"dkim-signature:v=1; b=", true, false},
      {"dkim-signature:v=1; b=\r\n", false, false},
      {"dkim-signature:v=1; b=abc", false, false},
      {"dkim-signature:v=1; b=\r\nfrom:x b=", false, false},
      {"from:a@b\r\narc-seal:i=1; cv=none; b=", false, true},
      {"from:a@b\r\narc-message-signature:i=1; b=", false, true},
      {"x-dkim-signature:v=1; b=", false, false},
      {"", false, false},
      {"b=", false, false},
      {"\r\n b=", false, false},
  }));
  INFO(c.bytes);
  CHECK(is_for_purpose(Purpose::kDkim, kRsa, c.bytes) == c.is_dkim);
  CHECK(is_for_purpose(Purpose::kArc, kRsa, c.bytes) == c.is_arc);
  CHECK_FALSE(is_for_purpose(Purpose::kTlsServer, kRsa, c.bytes));
  CHECK_FALSE(is_for_purpose(Purpose::kSrs, kRsa, c.bytes));
}

TEST_CASE("senders are rewritten with the secrets of the file, and only with those") {
  SrsSecrets secrets;
  config::MailauthParams params;
  params.srs_domain = "srs.example";
  params.srs_max_age = std::chrono::hours(24 * 21);
  secrets.configure(params);
  ipc::srs::Rewrite forward;
  forward.address = "a@example.org";
  constexpr std::int64_t kNow = 1'795'900'000;
  CHECK_FALSE(secrets.rewrite(forward, kNow).has_value());
  secrets.set({{"/k", Purpose::kDkim, "no secret\n", ""}, {"/s", Purpose::kSrs, "one\n", ""}});
  const auto made = secrets.rewrite(forward, kNow);
  REQUIRE(made.has_value());
  ipc::srs::Rewrite reverse;
  reverse.direction = ipc::srs::Direction::kReverse;
  reverse.address = made->address;
  CHECK(secrets.rewrite(reverse, kNow)->address == "a@example.org");
  secrets.set({{"/s", Purpose::kSrs, "two\n", ""}});
  CHECK(secrets.rewrite(reverse, kNow)->refusal == "SRS hash is wrong");
}

}  // namespace postern::keyring
