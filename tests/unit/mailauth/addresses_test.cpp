#include <catch2/catch.hpp>

#include "common/mailauth/batv.h"
#include "common/mailauth/srs.h"

namespace postern::mailauth {

namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kNow = 1'795'900'000;

SrsRules rules() {
  SrsRules r;
  r.domain = "srs.example.net";
  r.secrets = {"one", "two"};
  return r;
}

}  // namespace

TEST_CASE("a rewritten sender leads back to the one it was made of, for its time") {
  const auto sender = GENERATE(
      values<std::string_view>({"alice@example.org", "a=b=c@example.org", "\"odd one\"@Example.Org",
                                "SRS@example.org", "srs0@example.org", "x+y-z@example.org"}));
  const std::string out = srs_forward(rules(), sender, kNow).value();
  INFO(out);
  CHECK(out.ends_with("@srs.example.net"));
  CHECK(is_srs_address(out));
  CHECK(srs_reverse(rules(), out, kNow).value() == sender);
  CHECK(srs_reverse(rules(), out, kNow + 21 * kDay).value() == sender);
  CHECK(srs_reverse(rules(), out, kNow + 22 * kDay).error().text == "SRS address has expired");
  CHECK_FALSE(srs_reverse(rules(), out, kNow - kDay).has_value());
}

TEST_CASE("senders that stay as they are") {
  const auto sender = GENERATE(values<std::string_view>({"", "root", "a@SRS.example.net"}));
  CHECK(srs_forward(rules(), sender, kNow).value() == sender);
}

TEST_CASE("a secret that was replaced still verifies, one that was removed does not") {
  SrsRules old = rules();
  old.secrets = {"two"};
  const std::string out = srs_forward(old, "a@example.org", kNow).value();
  CHECK(srs_reverse(rules(), out, kNow).value() == "a@example.org");
  SrsRules other = rules();
  other.secrets = {"three"};
  CHECK(srs_reverse(other, out, kNow).error().text == "SRS hash is wrong");
}

TEST_CASE("further hosts point at the first one and stay short") {
  SrsRules second = rules();
  second.domain = "second.example";
  const std::string srs0 = srs_forward(rules(), "a@example.org", kNow).value();
  const std::string srs1 = srs_forward(second, srs0, kNow).value();
  CHECK(srs1.starts_with("SRS1="));
  SrsRules third = rules();
  third.domain = "third.example";
  const std::string again = srs_forward(third, srs1, kNow).value();
  CHECK(again.size() <= srs1.size());
  CHECK(srs_reverse(third, again, kNow).value() == srs0);
}

TEST_CASE("what is forged or damaged is refused") {
  const std::string good = srs_forward(rules(), "a@example.org", kNow).value();
  CHECK_FALSE(srs_reverse(rules(), "SRS0=@srs.example.net", kNow).has_value());
  CHECK_FALSE(srs_reverse(rules(), "SRS0=AAAA=BB=example.org=a@srs.example.net", kNow).has_value());
  CHECK_FALSE(srs_reverse(rules(), "SRS1=AAAA=x@srs.example.net", kNow).has_value());
  CHECK_FALSE(srs_reverse(rules(), "a@srs.example.net", kNow).has_value());
  std::string short_hash = good;
  short_hash.erase(6, 1);
  CHECK_FALSE(srs_reverse(rules(), short_hash, kNow).has_value());
  // Case may have been lost on the way, but for the plain address that is inside.
  std::string upper = good;
  for (std::size_t i = 0; i < 12; ++i) upper[i] = static_cast<char>(::toupper(upper[i]));
  CHECK(srs_reverse(rules(), upper, kNow).value() == "a@example.org");
}

TEST_CASE("secrets are lines") {
  CHECK(parse_srs_secrets("# new\n abc \n\ndef\n") == std::vector<std::string>{"abc", "def"});
}

TEST_CASE("a tagged sender is known again until it expires") {
  BatvRules batv;
  batv.key = "secret";
  batv.key_number = 3;
  const std::string out = batv_sign(batv, "alice@example.org", kNow);
  CHECK(out.starts_with("prvs=3"));
  CHECK(batv_verify(batv, out, kNow) == "alice@example.org");
  CHECK(batv_verify(batv, out, kNow + 7 * kDay) == "alice@example.org");
  CHECK_FALSE(batv_verify(batv, out, kNow + 8 * kDay).has_value());
  CHECK(batv_sign(batv, out, kNow) == out);
  CHECK(batv_sign(batv, "", kNow).empty());
  BatvRules other = batv;
  other.key = "guess";
  CHECK_FALSE(batv_verify(other, out, kNow).has_value());
  CHECK_FALSE(batv_verify(batv, "prvs=3=alice@example.org", kNow).has_value());
  CHECK_FALSE(batv_verify(batv, "alice@example.org", kNow).has_value());
}

}  // namespace postern::mailauth
