#include "master/service_table.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <set>

#include "common/base/text.h"
#include "common/config/inet_service.h"
#include "common/config/params/process.h"
#include "common/config/programs.h"
#include "common/sys/socket.h"

namespace postern::master {

namespace {

using config::Service;
using config::ServiceType;
using config::Values;

// Services that other processes of ours ask, whatever master.cf says.
struct OwnService {
  std::string_view line;
  ServiceType type;
};
constexpr std::array kOwnServices = {
    OwnService{"postlog unix-dgram n - n - 1 postlogd", ServiceType::kUnixDgram},
    OwnService{"rewrite unix - - n - - trivial-rewrite", ServiceType::kUnix},
    OwnService{"resolver unix - - n - 1 resolver", ServiceType::kUnix},
    OwnService{"proxymap unix - - n - - proxymap", ServiceType::kUnix},
    OwnService{"broker unix - - n - 1 broker", ServiceType::kUnix},
    OwnService{"keyring unix - - n - 1 keyring", ServiceType::kUnix},
    OwnService{"sts unix - - n - 1 sts", ServiceType::kUnix},
    OwnService{"reports unix - - n - 1 reports", ServiceType::kUnix},
    OwnService{"mailauth unix - - n - - mailauth", ServiceType::kUnix},
    // Not "auth": private/auth is where Dovecot listens on many a machine.
    OwnService{"postern-auth unix - - n - - auth", ServiceType::kUnix},
};

// What all mail needs: nobody should wait for it. resolver comes with its first client, and so does
// smtpd: many a machine only sends.
constexpr std::array<std::string_view, 5> kStartAtOnce = {"qmgr", "pickup", "postlog", "tables",
                                                          "cleanup"};

// Stateless: more than one helps where there are CPUs for it.
constexpr std::array<std::string_view, 1> kManyServeAll = {"tables"};

template <typename Names>
bool is_among(const Names& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool has_reports(const Values& values) {
  return values.flag("smtp_tlsrpt_enable") || values.flag("dmarc_report_enable");
}

bool is_disabled(const Values& values, const Service& service) {
  const std::string both = fmt::format("{}/{}", service.name, name_of(service.type));
  return std::ranges::any_of(values.list("master_service_disable"), [&](const std::string& word) {
    return word == both || word == service.name || word == name_of(service.type);
  });
}

std::int64_t limit_of(const Values& values, const Service& service,
                      const std::optional<config::ServiceProgram>& program) {
  if (program && program->limit == config::LimitKind::kNone) return 0;
  if (service.maxproc) return *service.maxproc;
  const bool is_inet = service.type == ServiceType::kInet || service.type == ServiceType::kPass;
  if (is_inet && program && program->daemon == "smtpd" && !values.is_set("default_process_limit")) {
    return values.count("smtpd_session_limit");
  }
  return values.count("default_process_limit");
}

Result<std::vector<Endpoint>> endpoints_of(const Values& values, const Service& service) {
  if (service.type == ServiceType::kInet) return inet_endpoints(values, service.name);
  if (service.name.empty() || service.name.starts_with('/') ||
      service.name.find("..") != std::string::npos) {
    return fail(Error::Kind::kConfig, "bad service name");
  }
  Endpoint endpoint;
  endpoint.path = fmt::format("{}/{}", service.is_private ? "private" : "public", service.name);
  if (service.type == ServiceType::kUnixDgram) endpoint.kind = EndpointKind::kDatagram;
  // qmgr and pickup were fifos once; what reaches ours is a connection.
  if (service.type == ServiceType::kFifo && !config::find_service_program(service.program)) {
    endpoint.kind = EndpointKind::kFifo;
  }
  return std::vector<Endpoint>{std::move(endpoint)};
}

std::vector<std::string> numeric_addresses(const std::string& host) {
  std::vector<std::string> found;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return found;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0 &&
        !is_among(found, text.data())) {
      found.emplace_back(text.data());
    }
  }
  ::freeaddrinfo(list);
  return found;
}

struct Protocols {
  bool v4 = false, v6 = false;
  [[nodiscard]] bool allow(std::string_view address) const {
    return address.find(':') == std::string_view::npos ? v4 : v6;
  }
};

Protocols protocols_of(const Values& values) {
  Protocols chosen;
  for (const std::string& word : values.list("inet_protocols")) {
    chosen.v4 |= word == "all" || word == "ipv4";
    chosen.v6 |= word == "all" || word == "ipv6";
  }
  return chosen;
}

}  // namespace

std::string Endpoint::name() const {
  switch (kind) {
    case EndpointKind::kInet:
      return fmt::format("inet:{}:{}", host, port);
    case EndpointKind::kStream:
      return "stream:" + path;
    case EndpointKind::kDatagram:
      return "datagram:" + path;
    case EndpointKind::kFifo:
      return "fifo:" + path;
  }
  return path;
}

std::string ServiceSpec::key() const { return fmt::format("{}/{}", name, config::name_of(type)); }

void complete_services(config::Snapshot& snapshot) {
  std::vector<Service> services;
  for (Service& service : snapshot.services) {
    const auto same = std::ranges::find_if(services, [&](const Service& other) {
      return other.name == service.name && other.type == service.type;
    });
    if (same != services.end()) services.erase(same);
    services.push_back(std::move(service));
  }
  for (const OwnService& own : kOwnServices) {
    auto parsed = config::parse_service(own.line, "", 0);
    if (!parsed) continue;
    const bool is_there = std::ranges::any_of(services, [&](const Service& other) {
      return other.name == parsed->name && other.type == own.type;
    });
    if (!is_there) services.push_back(*std::move(parsed));
  }
  snapshot.services = std::move(services);
}

Result<std::vector<Endpoint>> inet_endpoints(const Values& values, std::string_view name) {
  const auto [host, port_name] = config::split_inet_service(name);
  TRY(const std::uint16_t port, config::find_tcp_port(values, port_name));

  const Protocols protocols = protocols_of(values);
  std::vector<std::string> addresses;
  const auto interfaces = values.list("inet_interfaces");
  if (!host.empty()) {
    if (sys::parse_address(host, port)) {
      addresses.push_back(host);
    } else {
      addresses = numeric_addresses(host);
      std::erase_if(addresses, [&](const std::string& a) { return !protocols.allow(a); });
      if (addresses.empty()) {
        return fail(Error::Kind::kConfig, fmt::format("host not found: {}", host));
      }
    }
  } else if (is_among(interfaces, "all")) {
    if (protocols.v4) addresses.emplace_back("0.0.0.0");
    if (protocols.v6) addresses.emplace_back("::");
  } else {
    for (const std::string& address : values.snapshot().own_addresses) {
      // A link-local address says nothing without its interface.
      if (!starts_with_nocase(address, "fe80:")) addresses.push_back(address);
    }
  }
  if (addresses.empty()) return fail(Error::Kind::kConfig, "no address to listen on");
  std::vector<Endpoint> endpoints;
  for (std::string& address : addresses) {
    endpoints.push_back(
        {.kind = EndpointKind::kInet, .host = std::move(address), .port = port, .path = {}});
  }
  return endpoints;
}

ServiceTable make_service_table(const std::shared_ptr<const config::Snapshot>& snapshot,
                                unsigned processors,
                                const std::function<bool(const std::string&)>& is_installed) {
  ServiceTable table;
  const Values values(snapshot);
  const std::string daemon_directory = values.text("daemon_directory");
  const auto workers = static_cast<unsigned>(
      std::clamp<std::int64_t>(values.count("service_workers"), 1, std::max(1U, processors)));
  std::set<std::string> missing;
  for (const Service& service : snapshot->services) {
    if (is_disabled(values, service)) continue;
    const auto program = config::find_service_program(service.program);
    if (program && program->daemon.empty()) continue;  // accepted, starts nothing

    ServiceSpec spec;
    spec.name = service.name;
    spec.type = service.type;
    spec.program = program ? std::string(program->daemon) : service.program;
    spec.path = fmt::format("{}/{}", daemon_directory, spec.program);
    const auto complain = [&](std::string_view text) {
      const std::string place =
          service.line == 0 ? "" : fmt::format("{}, line {}: ", service.file, service.line);
      table.problems.push_back(fmt::format("{}service {}: {}", place, spec.key(), text));
    };
    if (spec.program.find('/') != std::string::npos) {
      complain(fmt::format("program {} must be in {}", spec.program, daemon_directory));
      continue;
    }
    if (!is_installed(spec.path)) {
      if (!program) {
        complain(fmt::format("there is no program {}", spec.path));
      } else if (service.line != 0) {
        missing.insert(service.program);
      }
      continue;
    }
    auto endpoints = endpoints_of(values, service);
    if (!endpoints) {
      complain(endpoints.error().text);
      continue;
    }
    spec.endpoints = *std::move(endpoints);

    if (service.is_chroot) spec.flags.emplace_back("-c");
    if (service.is_unprivileged) spec.flags.emplace_back("-u");
    for (const std::string& argument : service.args) {
      if (!argument.starts_with('-')) break;  // what follows belongs to a command
      if (argument == "-v") spec.flags.emplace_back("-v");
    }
    spec.is_internet = service.type == ServiceType::kInet;
    spec.is_agent = program && program->is_agent;
    spec.limit = limit_of(values, service, program);
    const bool serves_all = program && program->limit == config::LimitKind::kNone;
    spec.workers = serves_all && !is_among(kManyServeAll, spec.program) ? 1 : workers;
    spec.per_process = serves_all ? 0 : values.count("sessions_per_process");
    spec.wakeup = service.wakeup;
    spec.wakeup_only_if_used = service.wakeup_only_if_used;
    spec.start = is_among(kStartAtOnce, spec.program) ? Start::kAtOnce : Start::kOnDemand;
    // What was collected before has to be sent when its day is over.
    if (spec.program == "reports" && has_reports(values)) spec.start = Start::kAtOnce;
    table.services.push_back(std::move(spec));
  }
  table.unsupported.assign(missing.begin(), missing.end());
  // Whoever writes the log comes first.
  const auto log_writer = std::ranges::find(table.services, "postlog", &ServiceSpec::program);
  if (log_writer != table.services.end()) {
    std::rotate(table.services.begin(), log_writer, std::next(log_writer));
  }
  return table;
}

}  // namespace postern::master
