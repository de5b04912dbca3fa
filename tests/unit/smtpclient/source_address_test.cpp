#include "common/smtpclient/source_address.h"

#include <catch2/catch.hpp>

namespace postern::smtpclient {

namespace {

std::size_t last_of(std::size_t limit) { return limit - 1; }

}  // namespace

TEST_CASE("of a pool one address of each kind is taken") {
  const auto chosen = choose_source("192.0.2.5, 192.0.2.6 [2001:db8::5]\t2001:db8::6", last_of);
  REQUIRE(chosen);
  CHECK(chosen->ipv4 == "192.0.2.6");
  CHECK(chosen->ipv6 == "2001:db8::6");
  const auto only = choose_source("[192.0.2.5]", last_of);
  REQUIRE(only);
  CHECK(only->ipv4 == "192.0.2.5");
  CHECK(only->ipv6.empty());
}

TEST_CASE("a pool with anything else in it is refused as a whole") {
  const auto pool = GENERATE(as<std::string>(), "mx.example.org", "192.0.2.5 192.0.2", "/run/x");
  INFO(pool);
  CHECK_FALSE(choose_source(pool, last_of));
}

TEST_CASE("a sender is looked up as a whole, then by domain; notices have a key of their own") {
  const auto keys = source_keys("News@Example.ORG");
  REQUIRE(keys.size() == 2);
  CHECK(keys[0].text == "news@example.org");
  CHECK(keys[1].text == "@example.org");
  CHECK(source_keys("").front().text == "<>");
}

}  // namespace postern::smtpclient
