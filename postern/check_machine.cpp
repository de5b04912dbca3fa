// check_machine.cpp - what of master.cf this machine does not give: files behind a chroot, ports.

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/config/inet_service.h"
#include "common/config/programs.h"
#include "common/sys/fd.h"
#include "common/sys/lock.h"
#include "common/sys/socket.h"
#include "postern/check.h"

namespace postern::control {

namespace {

using namespace config;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// The command behind argv= of a spawn service.
std::string command_of(const Service& service) {
  constexpr std::string_view kArgv = "argv=";
  for (const std::string& word : service.args) {
    if (word.starts_with(kArgv)) return word.substr(kArgv.size());
  }
  return {};
}

// A path that the service opens once the queue directory is its root; empty where there is none.
// Of the others nothing is opened behind a chroot: tables, names and logs come from services
// outside, and the commands of pipe and local are started there.
std::string needed_behind_chroot(const Service& service, const Values& values) {
  if (service.program == "virtual") return values.text("virtual_mailbox_base");
  if (service.program == "local") return values.text("mail_spool_directory");
  if (service.program == "spawn") return command_of(service);
  return {};
}

// A master holds this lock while it runs.
bool is_running(const Values& values) {
  const std::string place = values.text("process_id_directory");
  const std::string below = place.starts_with('/') ? "" : values.text("queue_directory") + "/";
  return sys::is_file_locked(fmt::format("{}{}/master.pid", below, place)).value_or(false);
}

// Why the address cannot be listened on; empty when it can. Nothing is left behind.
std::string find_obstacle(const sys::SocketAddress& address) {
  const sys::Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return {};  // a machine without IPv6, for one: master leaves that out
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(fd.get(), address.get(), address.length) != 0) {
    if (errno == EADDRINUSE) return "another program listens there";
    if (errno == EADDRNOTAVAIL) return "this machine has no such address";
    return {};  // a port below 1024 without root's rights: who asks cannot know
  }
  return {};
}

std::vector<std::string> hosts_of(const Values& values, const std::string& host) {
  if (!host.empty()) return {host};
  const auto interfaces = values.list("inet_interfaces");
  const bool is_all = std::ranges::find(interfaces, "all") != interfaces.end();
  if (!is_all) return values.snapshot().own_addresses;
  std::vector<std::string> any;
  for (const std::string& word : values.list("inet_protocols")) {
    if (word == "all" || word == "ipv4") any.emplace_back("0.0.0.0");
    if (word == "all" || word == "ipv6") any.emplace_back("::");
  }
  return any;
}

}  // namespace

Problems check_chroots(const Snapshot& snapshot) {
  Problems problems;
  for (const Service& service : snapshot.services) {
    if (!service.is_chroot) continue;
    const Values values(unowned(snapshot), service);
    const std::string root = values.text("queue_directory");
    const std::string path = needed_behind_chroot(service, values);
    if (!path.starts_with('/') || exists(root + path)) continue;
    problems.push_back({service.file, service.line, "",
                        fmt::format("{}: {} sees {} as its root, where {} is missing; make it "
                                    "there or write n for chroot",
                                    service.name, service.program, root, path),
                        Severity::kError});
  }
  return problems;
}

Problems check_busy_ports(const Snapshot& snapshot) {
  Problems problems;
  const Values main(unowned(snapshot));
  if (is_running(main)) return problems;
  for (const Service& service : snapshot.services) {
    if (service.type != ServiceType::kInet) continue;
    const auto known = find_service_program(service.program);
    if (known && known->daemon.empty()) continue;  // accepted, starts nothing
    const auto [host, port_name] = split_inet_service(service.name);
    const Values values(unowned(snapshot), service);
    const auto port = find_tcp_port(values, port_name);
    if (!port) continue;  // said by check_listeners
    for (const std::string& name : hosts_of(values, host)) {
      const auto address = sys::parse_address(name, *port);
      if (!address) continue;  // a name, or a link-local address
      const std::string obstacle = find_obstacle(*address);
      if (obstacle.empty()) continue;
      problems.push_back({service.file, service.line, "",
                          fmt::format("{}: {} port {}: {}", service.name, name, *port, obstacle),
                          Severity::kWarning});
    }
  }
  return problems;
}

}  // namespace postern::control
