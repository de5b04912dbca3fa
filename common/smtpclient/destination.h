// destination.h - where a next hop leads, from the text that qmgr or main.cf gives. Pure.
//
//     domain  domain:port  [host]  [host]:port  [192.0.2.1]  [IPv6:2001:db8::1]:port
//     inet:...  unix:/path            LMTP; without a prefix it is inet
//
// Several, separated by commas or blanks, are tried in their order.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::smtpclient {

enum class Protocol : unsigned char { kSmtp, kLmtp };

struct Destination {
  std::string host{};  // without brackets and `IPv6:`
  bool use_mx = true;  // no brackets
  std::uint16_t port = 0;
  std::string path{};     // of a UNIX socket; then nothing else counts
  std::string text{};     // as written
  std::string service{};  // the port as it is written, or the protocol's own

  [[nodiscard]] bool is_unix() const { return !path.empty(); }
  friend bool operator==(const Destination&, const Destination&) = default;
};

inline constexpr std::size_t kMaxDestinations = 100;

// "25", "smtp", "submission": a number, a well-known name, or one of services(5).
[[nodiscard]] std::optional<std::uint16_t> find_port(std::string_view service);

[[nodiscard]] Result<Destination> parse_destination(std::string_view text, Protocol protocol,
                                                    std::string_view default_service);

// The words of a list, in their order, at most kMaxDestinations.
[[nodiscard]] std::vector<std::string> split_nexthop(std::string_view nexthop);

}  // namespace postern::smtpclient
