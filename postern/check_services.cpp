// What check says of the lines of master.cf: programs, and who listens where.

#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/config/inet_service.h"
#include "common/config/programs.h"
#include "common/config/values.h"
#include "postern/check.h"

namespace postern::control {

using namespace config;

Problems check_services(const Snapshot& snapshot) {
  Problems problems;
  const Values values(unowned(snapshot));
  const std::string directory = values.text("daemon_directory");
  std::map<std::pair<std::string, ServiceType>, unsigned> line_of;
  const auto complain = [&](const Service& service, std::string text, Severity severity) {
    problems.push_back(
        {service.file, service.line, "", fmt::format("{}: {}", service.name, text), severity});
  };
  for (const Service& service : snapshot.services) {
    const auto [earlier, is_new] = line_of.try_emplace({service.name, service.type}, service.line);
    if (!is_new) {
      complain(service,
               fmt::format("overrides the {} service of the same name in line {}",
                           name_of(service.type), earlier->second),
               Severity::kWarning);
      earlier->second = service.line;
    }
    const auto known = find_service_program(service.program);
    if (known && known->daemon.empty()) continue;  // accepted, starts nothing
    const std::string program = known ? std::string(known->daemon) : service.program;
    const std::string path = fmt::format("{}/{}", directory, program);
    if (program.find('/') != std::string::npos) {
      complain(service, fmt::format("program \"{}\" must be in {}", program, directory),
               Severity::kError);
    } else if (access(path.c_str(), X_OK) != 0) {
      if (known) {
        complain(
            service,
            fmt::format("program {} is not supported yet: {} is missing", service.program, path),
            Severity::kWarning);
      } else {
        complain(service, fmt::format("unknown program: {} is missing", path), Severity::kError);
      }
    }
  }
  return problems;
}

Problems check_listeners(const Snapshot& snapshot) {
  struct Listener {
    const Service* service;
    std::string host;
  };
  Problems problems;
  const Values values(unowned(snapshot));
  const bool is_all = values.text("inet_interfaces") == "all";
  std::map<std::string, std::vector<Listener>> by_port;
  for (const Service& service : snapshot.services) {
    if (service.type != ServiceType::kInet) continue;
    const auto known = find_service_program(service.program);
    if (known && known->daemon.empty()) continue;
    auto [host, name] = split_inet_service(service.name);
    const auto number = find_tcp_port(values, name);
    if (!number) {
      problems.push_back({service.file, service.line, "",
                          fmt::format("{}: {}", service.name, number.error().text),
                          Severity::kWarning});
    }
    const std::string port = number ? std::to_string(*number) : name;
    std::vector<Listener>& others = by_port[port];
    for (const Listener& other : others) {
      // The same name twice is said by check_services: there the later line counts.
      if (other.service->name == service.name) continue;
      // One without a host listens on all of inet_interfaces.
      const bool is_one_of_all = is_all && other.host.empty() != host.empty();
      if (other.host != host && !is_one_of_all) continue;
      problems.push_back({service.file, service.line, "",
                          fmt::format("{}: {} in line {} listens on the same port{}", service.name,
                                      other.service->name, other.service->line,
                                      is_one_of_all ? " of all addresses" : ""),
                          is_one_of_all ? Severity::kWarning : Severity::kError});
    }
    others.push_back({&service, host});
  }
  return problems;
}

}  // namespace postern::control
