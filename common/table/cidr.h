// cidr.h - one network block, and whether an address lies in it.

#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::table {

struct IpAddress {
  int family = 0;                         // AF_INET or AF_INET6
  std::array<unsigned char, 16> bytes{};  // the first four for AF_INET

  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};
// "192.0.2.1", "2001:db8::1"; brackets around either are accepted.
[[nodiscard]] std::optional<IpAddress> parse_ip(std::string_view text);

struct Network {
  IpAddress address;
  unsigned prefix = 0;

  [[nodiscard]] bool contains(const IpAddress& other) const;
};
// "192.0.2.0/24" or one address. Host bits behind the prefix must be zero (kConfig, with advice).
[[nodiscard]] Result<Network> parse_network(std::string_view text);

}  // namespace postern::table
