#include <catch2/catch.hpp>

#include "postern-milter/filter.h"
#include "postern-milter/greylist.h"

namespace postern::milterd {

namespace {

using Seconds = Greylist::Time;

dns::Address address(std::string_view text) { return *dns::parse_address(text); }

}  // namespace

TEST_CASE("a newcomer waits, its network is known afterwards, and is forgotten in the end") {
  Greylist list(Seconds(300));
  const auto ask = [&](std::string_view client, Seconds now) {
    return list.ask(address(client), "a@b.example", "c@d.example", now).count();
  };
  CHECK(ask("192.0.2.1", Seconds(1000)) == 300);
  CHECK(ask("192.0.2.1", Seconds(1200)) == 100);
  CHECK(ask("192.0.2.77", Seconds(1300)) == 0);
  CHECK(ask("192.0.3.1", Seconds(1300)) == 300);
  CHECK(list.ask(address("192.0.2.1"), "A@b.example", "x@d.example", Seconds(1300)).count() == 300);
  const Seconds month = std::chrono::hours(24 * 35);
  CHECK(ask("192.0.2.1", Seconds(1300) + month) == 0);
  CHECK(ask("192.0.2.1", Seconds(1301) + 2 * month) == 300);
  // Who never came again within two days is new.
  CHECK(ask("192.0.3.1", Seconds(1300) + std::chrono::hours(49)) == 300);
}

TEST_CASE("clients of our own networks and programs of this machine are let pass") {
  Setup setup;
  setup.wanted = ipc::mailauth::kDkim;
  CHECK(Filter(setup, "").is_trusted());
  Filter stranger(setup, "192.0.2.1");
  CHECK_FALSE(stranger.is_trusted());
  CHECK(stranger.sender("a@b.example", true).text.empty());
  CHECK(stranger.is_trusted());
}

TEST_CASE("a body is the same in whatever chunks libmilter brings it") {
  Setup setup;
  setup.wanted = ipc::mailauth::kDkim;
  setup.rules.authserv_id = "mx.example";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{1000}}) {
    Filter filter(setup, "192.0.2.1");
    CHECK(filter.sender("a@b.example", false).text.empty());
    filter.header("From", " a@b.example");
    filter.header("Authentication-Results", " other.example; spf=pass");
    filter.header("Authentication-Results", " mx.example; spf=pass");
    // A signature whose body hash cannot be right: no DNS is asked.
    filter.header("DKIM-Signature",
                  " v=1; a=rsa-sha256; d=b.invalid; s=s; h=from;\r\n\tbh="
                  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=AAAA");
    filter.header_end();
    const std::string body = "x y\r\n\r\nz\r\n";
    for (std::size_t at = 0; at < body.size(); at += piece) filter.body(body.substr(at, piece));
    const auto outcome = filter.end("ID");
    CHECK(outcome.forged == std::vector<int>{2});
    REQUIRE(outcome.fields.size() == 1);
    CHECK(outcome.fields[0].second.find("dkim=fail (body hash did not verify)") !=
          std::string::npos);
  }
}

TEST_CASE("paths are addresses") {
  CHECK(parse_path("<a@b>") == "a@b");
  CHECK(parse_path("<>").empty());
  CHECK(parse_path("a@b") == "a@b");
  CHECK(parse_path("<\"a b\"@c>") == "a b@c");
}

}  // namespace postern::milterd
