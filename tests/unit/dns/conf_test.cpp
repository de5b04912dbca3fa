#include "common/dns/conf.h"

#include <catch2/catch.hpp>

namespace postern::dns {

TEST_CASE("resolv.conf gives servers and options") {
  const auto conf = parse_resolv_conf(
      "# comment\n"
      "search example.org\n"
      "nameserver 192.0.2.53 ; near\n"
      "nameserver 2001:db8::53\n"
      "nameserver not-an-address\n"
      "options timeout:2 attempts:3 ndots:1 edns0\n");
  REQUIRE(conf.servers.size() == 2);
  CHECK(conf.servers[0].host() == "192.0.2.53");
  CHECK(conf.servers[0].port() == 53);
  CHECK(conf.servers[1].host() == "2001:db8::53");
  CHECK(conf.timeout == std::chrono::seconds(2));
  CHECK(conf.attempts == 3);
  CHECK_FALSE(conf.trust_ad);
}

TEST_CASE("whom to trust for AD") {
  CHECK(parse_resolv_conf("nameserver 127.0.0.53\n").trust_ad);
  CHECK_FALSE(parse_resolv_conf("nameserver 127.0.0.53\nnameserver 192.0.2.1\n").trust_ad);
  CHECK(parse_resolv_conf("nameserver 192.0.2.1\noptions trust-ad").trust_ad);
}

TEST_CASE("values of resolv.conf stay within bounds") {
  const auto conf = parse_resolv_conf("options timeout:99999 attempts:0 timeout:x");
  CHECK(conf.timeout == std::chrono::seconds(30));
  CHECK(conf.attempts == 1);
  REQUIRE(conf.servers.size() == 1);
  CHECK(conf.servers[0].host() == "127.0.0.1");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "nameserver 192.0.2.1\n";
  CHECK(parse_resolv_conf(many).servers.size() == kMaxServers);
}

TEST_CASE("the hosts file leads from names to addresses and back") {
  const auto hosts = HostsFile::parse(
      "127.0.0.1 localhost\n"
      "::1 localhost ip6-localhost # both\n"
      "192.0.2.1\tMail.example.org mail\n"
      "garbage\n");
  CHECK(hosts.addresses_of("LOCALHOST").size() == 2);
  CHECK(hosts.addresses_of("mail.example.org").size() == 1);
  CHECK(hosts.addresses_of("other").empty());
  CHECK(hosts.name_of(*parse_address("192.0.2.1")) == "Mail.example.org");
  CHECK(hosts.name_of(*parse_address("::1")) == "localhost");
  CHECK(hosts.name_of(*parse_address("192.0.2.2")).empty());
}

}  // namespace postern::dns
