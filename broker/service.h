// service.h - the endpoints of the configuration by number, and connections to them.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/daemon/daemon.h"
#include "common/ipc/broker.h"
#include "common/ipc/client.h"
#include "common/ipc/server.h"
#include "common/sys/socket.h"

namespace postern::broker {

// The parts of "inet:host:port" and "unix:path".
struct Target {
  bool is_unix = false;
  std::string path;
  std::string host;
  std::string port;
};
[[nodiscard]] Target split_endpoint(std::string_view endpoint);

class Service {
 public:
  explicit Service(daemon::Process& process);
  void start();

 private:
  void configure();
  loop::Task<void> connect(std::uint64_t number, ipc::ChannelPtr channel, std::uint32_t id);
  [[nodiscard]] loop::Task<Result<sys::Fd>> open(std::string endpoint, loop::Deadline deadline);
  [[nodiscard]] loop::Task<Result<std::vector<sys::SocketAddress>>> addresses_of(
      Target target, loop::Deadline deadline);

  daemon::Process& process_;
  ipc::Server server_;
  ipc::Client resolver_{"private/resolver"};
  std::map<std::uint64_t, std::string> endpoints_;
  std::size_t under_way_ = 0;
};

}  // namespace postern::broker
