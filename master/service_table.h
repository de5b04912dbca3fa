// service_table.h - which programs are to run, on which sockets, and how many of what they serve:
// the lines of master.cf, and the services that Postern has beside them.
//
// Pure but for the look whether a program is installed: what it says is done by supervisor.cpp.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"

namespace postern::master {

enum class EndpointKind : unsigned char { kInet, kStream, kDatagram, kFifo };

// Where a service is reached. Two with the same name are the same socket.
struct Endpoint {
  EndpointKind kind = EndpointKind::kStream;
  std::string host;  // of kInet: a numeric address; empty: any IPv4, "::" any IPv6
  std::uint16_t port = 0;
  std::string path;  // of the others, below the queue directory

  [[nodiscard]] std::string name() const;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// When the first process of a service starts.
enum class Start : unsigned char { kOnDemand, kAtOnce };

struct ServiceSpec {
  std::string name;
  config::ServiceType type = config::ServiceType::kUnix;
  std::string program;             // the daemon's name
  std::string path;                // of its executable
  std::vector<std::string> flags;  // -c, -u, -v
  std::vector<Endpoint> endpoints;
  Start start = Start::kOnDemand;
  bool is_internet = false;  // takes strangers' connections
  bool is_agent = false;
  std::int64_t limit = 0;        // clients or deliveries at once, in all processes; 0: none
  unsigned workers = 1;          // processes that still take new clients
  std::int64_t per_process = 0;  // sessions in one process; 0: any number
  std::chrono::seconds wakeup{0};
  bool wakeup_only_if_used = false;

  // "smtp/inet": unique within a table.
  [[nodiscard]] std::string key() const;
};

struct ServiceTable {
  std::vector<ServiceSpec> services;
  std::vector<std::string> problems;     // lines for the log: what is not started, and why
  std::vector<std::string> unsupported;  // programs of Postfix that are not there yet
};

// Adds the services that Postern needs and master.cf need not name, so that their processes find
// themselves in the snapshot. Of two lines with the same name and type the later one counts.
void complete_services(config::Snapshot& snapshot);

// The table of a snapshot. `is_installed` says whether a path is an executable file.
[[nodiscard]] ServiceTable make_service_table(
    const std::shared_ptr<const config::Snapshot>& snapshot, unsigned processors,
    const std::function<bool(const std::string&)>& is_installed);

// The addresses of `[host:]port` in master.cf. Names are looked up.
[[nodiscard]] Result<std::vector<Endpoint>> inet_endpoints(const config::Values& values,
                                                           std::string_view name);

}  // namespace postern::master
