#include "common/dns/mx.h"

#include <catch2/catch.hpp>

#include <set>

namespace postern::dns {

namespace {

std::vector<Record> records(std::initializer_list<Mx> list) {
  std::vector<Record> all;
  for (const Mx& mx : list) all.push_back({60, mx});
  return all;
}

std::string names(const std::vector<Mx>& hosts) {
  std::string text;
  for (const Mx& mx : hosts) text += mx.host + " ";
  return text;
}

const Random kFirst = [](std::size_t) { return std::size_t{0}; };

}  // namespace

TEST_CASE("hosts are tried by preference, equals in any order") {
  const auto all = records({{20, "c"}, {10, "a"}, {10, "b"}, {30, "d"}});
  std::set<std::string> seen;
  for (std::size_t seed = 0; seed < 24; ++seed) {
    std::size_t state = seed;
    const Random random = [&state](std::size_t below) {
      const std::size_t value = state % below;
      state /= below;
      return value;
    };
    seen.insert(names(plan_mx(all, random).hosts));
  }
  CHECK(seen == std::set<std::string>{"a b c d ", "b a c d "});
}

TEST_CASE("at its own preference a mail server stops") {
  struct Case {
    std::string_view own, left;
    bool loops_back;
  };
  const auto c = GENERATE(values<Case>({
      {"nobody", "a b c ", false},
      {"c", "a ", false},
      {"b", "a ", false},
      {"a", "", true},
  }));
  const auto plan = plan_mx(records({{10, "a"}, {20, "b"}, {20, "c"}}), kFirst,
                            [&c](std::string_view host) { return host == c.own; });
  // b and c may come in either order; sort for the comparison.
  auto hosts = plan.hosts;
  std::ranges::sort(hosts, {}, &Mx::host);
  CHECK(names(hosts) == c.left);
  CHECK(plan.loops_back == c.loops_back);
}

TEST_CASE("a null MX alone means no mail, beside others nothing") {
  CHECK(plan_mx(records({{0, ""}}), kFirst).is_null);
  const auto mixed = plan_mx(records({{0, ""}, {10, "a"}}), kFirst);
  CHECK_FALSE(mixed.is_null);
  CHECK(names(mixed.hosts) == "a ");
  CHECK_FALSE(plan_mx({}, kFirst).is_null);
}

TEST_CASE("an MX that is no host name is skipped, unless it is an address") {
  CHECK(names(plan_mx(records({{1, "192.0.2.1"}, {2, "a\\.b"}, {3, "ok.test"}}), kFirst).hosts) ==
        "192.0.2.1 ok.test ");
}

}  // namespace postern::dns
