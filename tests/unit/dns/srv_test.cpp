#include "common/dns/srv.h"

#include <catch2/catch.hpp>
#include <map>

namespace postern::dns {

namespace {

std::vector<Record> records(std::initializer_list<Srv> list) {
  std::vector<Record> all;
  for (const Srv& srv : list) all.push_back({60, srv});
  return all;
}

std::string names(const std::vector<Srv>& servers) {
  std::string text;
  for (const Srv& srv : servers) text += srv.target + " ";
  return text;
}

const Random kFirst = [](std::size_t) { return std::size_t{0}; };

}  // namespace

TEST_CASE("servers are tried by priority") {
  const auto plan =
      plan_srv(records({{20, 9, 587, "c"}, {10, 0, 587, "a"}, {30, 0, 25, "d"}}), kFirst);
  CHECK(names(plan.servers) == "a c d ");
  CHECK(plan.servers.front().port == 587);
}

// The example of RFC 2782: three times as many calls for the one with three times the weight.
TEST_CASE("equals are drawn by their weight") {
  std::map<std::string, int> first;
  std::size_t next = 0;
  const Random random = [&next](std::size_t below) { return (next += 7) % below; };
  for (int i = 0; i < 4000; ++i) {
    const auto plan = plan_srv(
        records({{0, 1, 9, "old-slow"}, {0, 3, 9, "new-fast"}, {1, 0, 9, "reserve"}}), random);
    REQUIRE(plan.servers.size() == 3);
    CHECK(plan.servers.back().target == "reserve");
    ++first[plan.servers.front().target];
  }
  CHECK(first["new-fast"] > 2 * first["old-slow"]);
  CHECK(first["old-slow"] > 500);
}

TEST_CASE("a server without a weight is drawn now and then") {
  std::size_t last = 0;
  const Random random = [&last](std::size_t below) { return last = below - 1; };
  const auto plan = plan_srv(records({{0, 50, 9, "a"}, {0, 0, 9, "b"}}), random);
  CHECK(names(plan.servers) == "b a ");
}

TEST_CASE("the root as the only target means that there is no such service") {
  CHECK(plan_srv(records({{0, 0, 0, ""}}), kFirst).is_null);
  const auto mixed = plan_srv(records({{0, 0, 0, ""}, {1, 0, 25, "a"}}), kFirst);
  CHECK_FALSE(mixed.is_null);
  CHECK(names(mixed.servers) == "a ");
  CHECK_FALSE(plan_srv({}, kFirst).is_null);
}

TEST_CASE("what is no host name, or has no port, is left out") {
  CHECK(
      names(plan_srv(records({{1, 0, 25, "a\\.b"}, {2, 0, 0, "c"}, {3, 0, 25, "ok.test"}}), kFirst)
                .servers) == "ok.test ");
}

}  // namespace postern::dns
