#include "common/config/networks.h"

#include <catch2/catch.hpp>

namespace postern::config {

namespace {

Networks parse(std::string_view text) {
  std::vector<std::string> faults;
  Networks networks = Networks::parse(
      text,
      [](std::string_view path) -> std::optional<std::string> {
        if (path == "/nets")
          return "192.0.2.0/24 # comment 10.0.0.1\n!198.51.100.7\n198.51.100.0/24";
        if (path == "/self") return "/self";
        return std::nullopt;
      },
      faults);
  INFO(text);
  CHECK(faults.empty());
  return networks;
}

bool has(const Networks& networks, std::string_view address) {
  return networks.contains(parse_ip_address(address).value());
}

}  // namespace

TEST_CASE("addresses are in a list or not") {
  struct Case {
    const char *list, *address;
    bool expected;
  };
  const auto c = GENERATE(values<Case>({
      {"127.0.0.0/8, 192.0.2.1/32", "127.5.5.5", true},
      {"127.0.0.0/8, 192.0.2.1/32", "192.0.2.1", true},
      {"127.0.0.0/8, 192.0.2.1/32", "192.0.2.2", false},
      {"192.0.2.1", "192.0.2.1", true},
      {"0.0.0.0/0", "203.0.113.9", true},
      {"0.0.0.0/0", "::1", false},
      {"[::1]/128", "::1", true},
      {"[::1]", "::1", true},
      {"[2001:db8::]/33", "2001:db8:7fff::1", true},
      {"[2001:db8::]/33", "2001:db8:8000::1", false},
      {"10.0.0.0/9", "10.127.255.255", true},
      {"10.0.0.0/9", "10.128.0.0", false},
      {"10.0.0.0/8", "::ffff:10.1.2.3", true},
      {"[::ffff:127.0.0.0]/104", "127.9.9.9", true},
      {"[::ffff:127.0.0.0]/104", "128.0.0.1", false},
      {"[::ffff:0:0]/96", "203.0.113.9", true},
      {"[::ffff:0:0]/96", "2001:db8::1", false},
      {"!10.0.0.5 10.0.0.0/8", "10.0.0.5", false},
      {"!10.0.0.5 10.0.0.0/8", "10.0.0.6", true},
      {"10.0.0.0/8 !10.0.0.5", "10.0.0.5", true},
      {"/nets", "192.0.2.77", true},
      {"/nets", "198.51.100.7", false},
      {"/nets", "198.51.100.8", true},
      {"/nets", "10.0.0.1", false},
      {"!/nets 0.0.0.0/0", "192.0.2.77", false},
      {"!/nets 0.0.0.0/0", "198.51.100.7", true},
      {"", "127.0.0.1", false},
  }));
  INFO(c.list << " " << c.address);
  CHECK(has(parse(c.list), c.address) == c.expected);
}

TEST_CASE("tables are asked in their place, and their failure is not a no") {
  const Networks networks = parse("10.0.0.0/8 !hash:/bad cidr:/good [::1]");
  CHECK(networks.tables() == std::vector<std::string_view>{"hash:/bad", "cidr:/good"});
  const auto in = [](std::string_view wanted) {
    return [wanted](std::string_view table, std::string_view key) -> Result<bool> {
      CHECK(key == "192.0.2.9");
      return table == wanted;
    };
  };
  const IpAddress address = parse_ip_address("192.0.2.9").value();
  CHECK(networks.matches(address, in("cidr:/good")).value());
  CHECK_FALSE(networks.matches(address, in("hash:/bad")).value());
  CHECK_FALSE(networks.matches(address, in("")).value());
  CHECK_FALSE(
      networks.matches(address, [](auto, auto) -> Result<bool> { return fail_temporary("down"); })
          .has_value());
}

TEST_CASE("patterns that are wrong are named, the others count") {
  const auto* const pattern =
      GENERATE(values<const char*>({"192.0.2.1/24", "192.0.2.0/33", "192.0.2", "300.1.1.1",
                                    "[::1]/129", "[::1", "/missing", "/self", "-", "192.0.2.0/"}));
  std::vector<std::string> faults;
  const Networks networks = Networks::parse(
      std::string(pattern) + " 10.0.0.1",
      [](std::string_view path) -> std::optional<std::string> {
        if (path == "/self") return "/self";
        return std::nullopt;
      },
      faults);
  INFO(pattern);
  CHECK(faults.size() == 1);
  CHECK(has(networks, "10.0.0.1"));
}

}  // namespace postern::config
