// inet_service.h - the `[host:]port` of an inet service in master.cf.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/config/values.h"

namespace postern::config {

// "[::1]:smtp" is "::1" and "smtp"; without a host that is empty.
struct InetService {
  std::string host;
  std::string port;
};
[[nodiscard]] InetService split_inet_service(std::string_view name);

// A number, or a name of known_tcp_ports or services(5).
[[nodiscard]] Result<std::uint16_t> find_tcp_port(const Values& values, std::string_view name);

}  // namespace postern::config
