// service.h - the endpoints of the configuration by number, and connections to them.

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/daemon/daemon.h"
#include "common/ipc/broker.h"
#include "common/ipc/client.h"
#include "common/ipc/server.h"

namespace postern::broker {

class Service {
 public:
  explicit Service(daemon::Process& process);
  void start();

 private:
  void configure();
  loop::Task<void> connect(std::uint64_t number, ipc::ChannelPtr channel, std::uint32_t id);

  daemon::Process& process_;
  ipc::Server server_;
  ipc::Client resolver_{"private/resolver"};
  std::map<std::uint64_t, std::string> endpoints_;
  std::size_t under_way_ = 0;
};

}  // namespace postern::broker
