#include "common/policy/sender_quota.h"

#include <catch2/catch.hpp>

namespace postern::policy {

TEST_CASE("a sending quota is a number for an hour, for a day, or for both") {
  struct Case {
    std::string_view text;
    SenderQuota quota;
  };
  const auto c = GENERATE(values<Case>({
      {"100/hour, 500/day", {100, 500}},
      {"500/day 100/hour", {100, 500}},
      {"100/hour", {100, 0}},
      {"500/DAY,", {0, 500}},
      {"1000000000/day", {0, 1'000'000'000}},
      {"none", {}},
      {" None ", {}},
  }));
  INFO(c.text);
  const auto quota = parse_sender_quota(c.text);
  REQUIRE(quota);
  CHECK(*quota == c.quota);
}

TEST_CASE("what is no sending quota is refused as a whole") {
  const auto text = GENERATE(values<std::string_view>({
      "",
      " , ",
      "100",
      "hour",
      "/hour",
      "100/",
      "100/week",
      "100/hours",
      "0/hour",
      "-1/hour",
      "+1/hour",
      "1x/hour",
      "1000000001/day",
      "99999999999999999999/day",
      "100 / hour",
      "100/hour, 200/hour",
      "none, 100/hour",
      "100/hour none",
      "100/hour/day",
  }));
  INFO(text);
  const auto quota = parse_sender_quota(text);
  REQUIRE_FALSE(quota);
  CHECK(quota.error().kind == Error::Kind::kConfig);
}

}  // namespace postern::policy
