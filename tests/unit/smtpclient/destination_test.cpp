#include "common/smtpclient/destination.h"

#include <catch2/catch.hpp>

namespace postern::smtpclient {

TEST_CASE("next hops are read in all their forms") {
  struct Case {
    std::string_view text;
    Protocol protocol;
    std::string_view host;
    bool use_mx;
    std::uint16_t port;
    std::string_view path;
  };
  const auto c = GENERATE(values<Case>({
      {"example.org", Protocol::kSmtp, "example.org", true, 25, ""},
      {"example.org.", Protocol::kSmtp, "example.org", true, 25, ""},
      {"example.org:587", Protocol::kSmtp, "example.org", true, 587, ""},
      {"example.org:submission", Protocol::kSmtp, "example.org", true, 587, ""},
      {"[mail.example.org]", Protocol::kSmtp, "mail.example.org", false, 25, ""},
      {"[mail.example.org]:2525", Protocol::kSmtp, "mail.example.org", false, 2525, ""},
      {"[192.0.2.1]", Protocol::kSmtp, "192.0.2.1", false, 25, ""},
      {"[IPv6:2001:db8::1]", Protocol::kSmtp, "2001:db8::1", false, 25, ""},
      {"[2001:db8::1]:smtps", Protocol::kSmtp, "2001:db8::1", false, 465, ""},
      {"2001:db8::1", Protocol::kSmtp, "2001:db8::1", true, 25, ""},
      {"inet:mail.example.org:24", Protocol::kLmtp, "mail.example.org", false, 24, ""},
      {"mail.example.org", Protocol::kLmtp, "mail.example.org", false, 24, ""},
      {"unix:/run/lmtp", Protocol::kLmtp, "", false, 0, "/run/lmtp"},
      {"unix:private/dovecot", Protocol::kLmtp, "", false, 0, "private/dovecot"},
  }));
  INFO(c.text);
  const auto got =
      parse_destination(c.text, c.protocol, c.protocol == Protocol::kLmtp ? "24" : "smtp");
  REQUIRE(got.has_value());
  CHECK(got->host == c.host);
  CHECK(got->use_mx == c.use_mx);
  CHECK(got->port == c.port);
  CHECK(got->path == c.path);
  CHECK(got->text == c.text);
}

TEST_CASE("a next hop that leads nowhere is refused") {
  const auto text = GENERATE(values<std::string_view>(
      {"", "[", "[]", "[mail.example.org", "[mail.example.org]x", "example.org:0",
       "example.org:65536", "example.org:no-such-service", ":25", "."}));
  INFO(text);
  CHECK_FALSE(parse_destination(text, Protocol::kSmtp, "smtp").has_value());
}

TEST_CASE("a list of next hops keeps its order and its bound") {
  CHECK(split_nexthop("a, [b]:26 c") == std::vector<std::string>{"a", "[b]:26", "c"});
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "x,";
  CHECK(split_nexthop(many).size() == kMaxDestinations);
}

}  // namespace postern::smtpclient
