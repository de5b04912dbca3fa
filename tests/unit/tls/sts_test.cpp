#include "common/tls/sts.h"

#include <catch2/catch.hpp>

namespace postern::tls {

TEST_CASE("one MTA-STS record has an id, and all else has none") {
  struct Case {
    std::vector<std::string> texts;
    std::optional<std::string> id;
  };
  const auto c = GENERATE(values<Case>({
      {{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
      {{"v=STSv1;id=1"}, "1"},
      {{"v=spf1 -all", "v=STSv1; id=2"}, "2"},
      {{"v=STSv1; id=1; id=2"}, "1"},
      {{}, std::nullopt},
      {{"v=STSv1"}, std::nullopt},
      {{"v=STSv1; id=a-b"}, std::nullopt},
      {{"v=STSv1; id=" + std::string(33, 'a')}, std::nullopt},
      {{"v=STSv1; id=1", "v=STSv1; id=2"}, std::nullopt},
      {{"v=STSv2; id=1"}, std::nullopt},
      {{"V=STSv1; id=1"}, std::nullopt},
  }));
  CHECK(find_sts_id(c.texts) == c.id);
}

TEST_CASE("the policy of RFC 8461 3.2 is read") {
  const auto policy = parse_sts_policy(
                          "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n"
                          "mx: *.Example.net\r\nmx: backupmx.example.com\r\nnew: x\r\n"
                          "max_age: 604800\r\n")
                          .value();
  CHECK(policy.mode == StsMode::kEnforce);
  CHECK(policy.mx ==
        std::vector<std::string>{"mail.example.com", "*.example.net", "backupmx.example.com"});
  CHECK(policy.max_age == std::chrono::seconds(604'800));
}

TEST_CASE("a policy that is malformed is none, with a reason") {
  struct Case {
    std::string_view text, reason;
  };
  const auto c = GENERATE(values<Case>({
      {"", "no version"},
      {"version: STSv2\n", "version is not STSv1"},
      {"version: STSv1\nmx: a.b\nmax_age: 1\n", "no mode"},
      {"version: STSv1\nmode: on\n", "mode is none of enforce, testing, none"},
      {"version: STSv1\nmode: enforce\nmx: a.b\n", "no max_age"},
      {"version: STSv1\nmode: enforce\nmax_age: 1\n", "no mx"},
      {"version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 31557601\n",
       "max_age is no number of seconds up to a year"},
      {"version: STSv1\nmode: enforce\nmx: a b.c\nmax_age: 1\n", "mx is no host name"},
      {"version: STSv1\nmode: enforce\nmx: *.*.c\nmax_age: 1\n", "mx is no host name"},
  }));
  INFO(c.text);
  const auto policy = parse_sts_policy(c.text);
  REQUIRE_FALSE(policy.has_value());
  CHECK(policy.error().text == c.reason);
}

TEST_CASE("a star stands for one label") {
  const std::vector<std::string> patterns = {"mx.example.org", "*.example.net"};
  CHECK(matches_sts_mx(patterns, "MX.example.org."));
  CHECK(matches_sts_mx(patterns, "a.example.net"));
  CHECK_FALSE(matches_sts_mx(patterns, "a.b.example.net"));
  CHECK_FALSE(matches_sts_mx(patterns, "example.net"));
  CHECK_FALSE(matches_sts_mx(patterns, ".example.net"));
  CHECK_FALSE(matches_sts_mx(patterns, "mx2.example.org"));
}

}  // namespace postern::tls
