// connect.h - connections to endpoints of the configuration: "inet:host:port" and "unix:path", for
// the programs that may make them (broker, proxymap).

#pragma once

#include <string>
#include <string_view>

#include "common/ipc/client.h"
#include "common/sys/socket.h"

namespace postern::ipc {

struct Endpoint {
  bool is_unix = false;
  std::string path;
  std::string host;  // without brackets
  std::string port;
};
[[nodiscard]] Endpoint split_endpoint(std::string_view endpoint);

// A connection to the first address that answers; `resolver` is asked for names. Errors are
// temporary, but for a port that does not exist (kConfig).
[[nodiscard]] loop::Task<Result<sys::Fd>> connect_to(Client& resolver, std::string endpoint,
                                                     loop::Deadline deadline);

}  // namespace postern::ipc
