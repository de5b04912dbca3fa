#include "common/config/load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "common/base/text.h"
#include "common/config/networks.h"
#include "common/config/values.h"
#include "common/sys/fd.h"

namespace postern::config {

namespace {

constexpr std::size_t kMaxNamedFile = std::size_t{16} << 20;
constexpr unsigned kMaxNamedFiles = 1000;

constexpr std::array<std::string_view, 17> kMatchLists = {"mydestination",
                                                          "mynetworks",
                                                          "relay_domains",
                                                          "virtual_alias_domains",
                                                          "virtual_mailbox_domains",
                                                          "inet_interfaces",
                                                          "proxy_interfaces",
                                                          "permit_mx_backup_networks",
                                                          "debug_peer_list",
                                                          "fast_flush_domains",
                                                          "masquerade_domains",
                                                          "smtpd_client_event_limit_exceptions",
                                                          "smtpd_authorized_xclient_hosts",
                                                          "smtpd_authorized_xforward_hosts",
                                                          "smtpd_forbid_bare_newline_exclusions",
                                                          "smtpd_sasl_exceptions_networks",
                                                          "qmqpd_authorized_clients"};

struct Interface {
  IpAddress address;
  unsigned prefix = 0;
};

std::optional<IpAddress> address_of(const sockaddr* address) {
  IpAddress out;
  // memcpy: a sockaddr promises no alignment for what stands behind it.
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    std::memcpy(out.bytes.data(), &v4.sin_addr, 4);
    return out;
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    std::memcpy(out.bytes.data(), &v6.sin6_addr, 16);
    out.is_v6 = true;
    return out;
  }
  return std::nullopt;
}

unsigned count_bits(const IpAddress& mask) {
  unsigned bits = 0;
  for (const unsigned char byte : mask.bytes) {
    bits += static_cast<unsigned>(std::popcount(static_cast<unsigned>(byte)));
  }
  return bits;
}

// All interfaces that are up, IPv4 first, as people expect to read it.
std::vector<Interface> interfaces_of_machine() {
  std::vector<Interface> found;
  std::vector<Interface> found_v6;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    const auto address = address_of(entry->ifa_addr);
    if (!address) continue;
    Interface interface{*address, address->bits()};
    if (entry->ifa_netmask != nullptr) {
      if (const auto mask = address_of(entry->ifa_netmask)) interface.prefix = count_bits(*mask);
    }
    (address->is_v6 ? found_v6 : found).push_back(interface);
  }
  freeifaddrs(list);
  found.insert(found.end(), found_v6.begin(), found_v6.end());
  return found;
}

std::vector<IpAddress> addresses_of_host(const std::string& host) {
  std::vector<IpAddress> found;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return found;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    const auto address = address_of(entry->ai_addr);
    if (address && std::ranges::find(found, *address) == found.end()) found.push_back(*address);
  }
  freeaddrinfo(list);
  return found;
}

bool is_loopback(const IpAddress& address) {
  if (!address.is_v6) return address.bytes[0] == 127;
  return address == *parse_ip_address("::1");
}

// The interfaces that inet_interfaces and inet_protocols leave.
std::vector<Interface> chosen_interfaces(const Values& values, Problems& problems) {
  const std::vector<Interface> all = interfaces_of_machine();
  bool use_v4 = false;
  bool use_v6 = false;
  for (const std::string& protocol : values.list("inet_protocols")) {
    if (protocol == "all" || protocol == "ipv4") use_v4 = true;
    if (protocol == "all" || protocol == "ipv6") use_v6 = true;
    if (protocol != "all" && protocol != "ipv4" && protocol != "ipv6") {
      problems.push_back(
          values.problem("inet_protocols", fmt::format("unknown protocol \"{:.40}\"", protocol)));
    }
  }
  std::vector<Interface> chosen;
  const auto add = [&](const Interface& interface) {
    if (interface.address.is_v6 ? !use_v6 : !use_v4) return;
    const auto is_same = [&](const Interface& other) { return other.address == interface.address; };
    if (std::ranges::none_of(chosen, is_same)) chosen.push_back(interface);
  };
  for (const std::string& word : values.list("inet_interfaces")) {
    if (word == "all" || word == "loopback-only") {
      for (const Interface& interface : all) {
        if (word == "all" || is_loopback(interface.address)) add(interface);
      }
      continue;
    }
    std::vector<IpAddress> addresses;
    if (const auto address = parse_ip_address(word)) {
      addresses.push_back(*address);
    } else {
      addresses = addresses_of_host(word);
      if (addresses.empty()) {
        problems.push_back(
            values.problem("inet_interfaces", fmt::format("host not found: \"{:.80}\"", word)));
      }
    }
    for (const IpAddress& address : addresses) {
      const auto it = std::ranges::find(all, address, &Interface::address);
      add(it != all.end() ? *it : Interface{address, address.bits()});
    }
  }
  return chosen;
}

unsigned class_prefix(const IpAddress& address) {
  const unsigned char first = address.bytes[0];
  return first < 128 ? 8 : first < 192 ? 16 : first < 224 ? 24 : 32;
}

std::string networks_by_style(std::string_view style, const std::vector<Interface>& interfaces) {
  std::vector<std::string> networks;
  for (const Interface& interface : interfaces) {
    unsigned prefix = interface.address.bits();
    if (style == "subnet") prefix = interface.prefix;
    if (style == "class") {
      prefix = interface.address.is_v6 ? interface.prefix : class_prefix(interface.address);
    }
    std::string text = to_string(Network{network_of(interface.address, prefix), prefix});
    if (std::ranges::find(networks, text) == networks.end()) networks.push_back(std::move(text));
  }
  return join(networks, " ");
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  const std::string text = to_lower(trim_right(std::string_view(name.data()), "."));
  return text.empty() ? "localhost" : text;
}

void compute_names(Snapshot& snapshot) {
  // The one that is set helps to find the other; neither looks at its own default.
  const auto shared = std::make_shared<Snapshot>(snapshot);
  shared->computed["mydomain"] = "localdomain";
  const Values values(shared);
  std::string myhostname = host_name();
  if (myhostname.find('.') == std::string::npos) {
    myhostname = fmt::format("{}.{}", myhostname, values.text("mydomain"));
  }
  snapshot.computed["myhostname"] = myhostname;
  if (snapshot.find("myhostname") != nullptr) myhostname = values.text("myhostname");
  const std::string_view domain = split_at_first(myhostname, '.').second;
  snapshot.computed["mydomain"] = domain.empty() ? "localdomain" : std::string(domain);
}

void compute_paths(Snapshot& snapshot, Problems& problems) {
  const InstallPaths& paths = snapshot.paths;
  const bool is_postfix = snapshot.config_directory == kPostfixConfigDirectory;
  auto& computed = snapshot.computed;
  computed["config_directory"] = snapshot.config_directory;
  computed["command_directory"] = paths.command_directory;
  computed["daemon_directory"] = paths.daemon_directory;
  computed["queue_directory"] = is_postfix ? "/var/spool/postfix" : paths.queue_directory;
  computed["data_directory"] = is_postfix ? "/var/lib/postfix" : paths.data_directory;
  computed["sendmail_path"] = paths.command_directory + "/sendmail";
  computed["mailq_path"] = paths.bin_directory + "/mailq";
  computed["newaliases_path"] = paths.bin_directory + "/newaliases";
  computed["manpage_directory"] = paths.prefix + "/share/man";
  computed["sample_directory"] = snapshot.config_directory;
  computed["meta_directory"] = snapshot.config_directory;
  computed["alias_maps"] = "$default_database_type:" + paths.aliases;
  computed["alias_database"] = "$default_database_type:" + paths.aliases;
  // The tables of a machine that ran Postfix are there already, and of its type.
  if (is_postfix) computed["default_database_type"] = "hash";

  snapshot.replaced.clear();
  const auto shared = std::make_shared<Snapshot>(snapshot);
  const Values values(shared);
  const auto replace = [&](std::string_view name, const std::string& ours, bool is_ours) {
    const std::string directory = values.text(name);
    if (is_ours || directory == ours || snapshot.find(name) == nullptr) return;
    problems.push_back(values.problem(
        name, fmt::format("{} holds no programs of Postern; {} is used", directory, ours),
        Severity::kWarning));
    snapshot.replaced[std::string(name)] = ours;
  };
  replace("daemon_directory", paths.daemon_directory,
          holds_our_daemons(values.text("daemon_directory")));
  replace("command_directory", paths.command_directory,
          holds_our_commands(values.text("command_directory")));
}

void read_named_file(Snapshot& snapshot, const Values& values, std::string_view name,
                     const std::string& path, Problems& problems) {
  if (snapshot.files.contains(path)) return;
  if (snapshot.files.size() >= kMaxNamedFiles) return;
  auto content = read_file(path, kMaxNamedFile);
  if (!content) {
    problems.push_back(values.problem(name, content.error().text));
    return;
  }
  const std::string text = *std::move(content);
  snapshot.files[path] = text;
  if (!is_match_list(name)) return;
  for (const std::string_view line : split_fields(text, '\n')) {
    const std::string_view patterns = line.substr(0, line.find('#'));
    for (std::string_view word : split_words_braced(patterns)) {
      word = trim_left(word, "!");
      if (word.starts_with('/')) {
        // Bounded by kMaxNamedFiles: a file that was read is not read again.
        read_named_file(snapshot, values, name, std::string(word), problems);
      }
    }
  }
}

void read_named_files(Snapshot& snapshot, Problems& problems) {
  const auto shared = std::make_shared<Snapshot>(snapshot);
  const auto read_for = [&](const Values& values) {
    for (const std::string_view name : kMatchLists) {
      for (const std::string& element : values.list(name)) {
        const std::string_view path = trim_left(element, "!");
        if (path.starts_with('/')) {
          read_named_file(snapshot, values, name, std::string(path), problems);
        }
      }
    }
    const std::string myorigin = values.raw("myorigin").value_or("");
    if (myorigin.starts_with('/')) {
      read_named_file(snapshot, values, "myorigin", myorigin, problems);
    }
    // Its reader is in a chroot.
    const std::string templates = values.text("bounce_template_file");
    if (!templates.empty()) {
      read_named_file(snapshot, values, "bounce_template_file", templates, problems);
    }
  };
  read_for(Values(shared));
  for (const Service& service : shared->services) {
    if (!service.overrides.empty()) read_for(Values(shared, service));
  }
}

}  // namespace

bool is_match_list(std::string_view name) {
  return std::ranges::find(kMatchLists, name) != kMatchLists.end();
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const std::string doing = fmt::format("open {}", path);
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return sys::fail_errno(doing);
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) return sys::fail_errno(doing);
  if (!S_ISREG(status.st_mode)) return fail(Error::Kind::kConfig, doing + ": not a regular file");
  std::string text;
  std::array<char, 65536> buffer;  // not cleared: that would touch sixteen pages
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return sys::fail_errno(fmt::format("read {}", path));
    }
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
    if (text.size() > limit) {
      return fail(Error::Kind::kConfig, fmt::format("{} is larger than {} bytes", path, limit));
    }
  }
}

void complete_snapshot(Snapshot& snapshot, Problems& problems, Extent extent) {
  snapshot.index();
  snapshot.computed.clear();
  snapshot.files.clear();
  snapshot.own_addresses.clear();
  compute_names(snapshot);
  compute_paths(snapshot, problems);
  read_named_files(snapshot, problems);
  if (extent == Extent::kWithoutNetwork) return;

  const auto shared = std::make_shared<Snapshot>(snapshot);
  const Values values(shared);
  const std::vector<Interface> interfaces = chosen_interfaces(values, problems);
  for (const Interface& interface : interfaces) {
    snapshot.own_addresses.push_back(to_string(interface.address));
  }
  snapshot.computed["mynetworks"] = networks_by_style(values.text("mynetworks_style"), interfaces);
}

Result<Loaded> load_configuration(std::string_view directory, const InstallPaths& paths,
                                  Extent extent) {
  Loaded loaded;
  loaded.snapshot = std::make_shared<Snapshot>();
  Snapshot& snapshot = *loaded.snapshot;
  snapshot.config_directory = directory;
  snapshot.paths = paths;

  const std::string main_path = fmt::format("{}/main.cf", directory);
  TRY(const std::string main_text, read_file(main_path, kMaxConfigFile));
  MainCf main_cf = parse_main_cf(main_text, main_path);
  snapshot.settings = std::move(main_cf.settings);
  loaded.problems = std::move(main_cf.problems);

  const std::string master_path = fmt::format("{}/master.cf", directory);
  if (const auto master_text = read_file(master_path, kMaxConfigFile)) {
    MasterCf master_cf = parse_master_cf(*master_text, master_path);
    snapshot.services = std::move(master_cf.services);
    std::ranges::move(master_cf.problems, std::back_inserter(loaded.problems));
  } else {
    loaded.problems.push_back({master_path, 0, "", master_text.error().text, Severity::kError});
  }
  complete_snapshot(snapshot, loaded.problems, extent);
  return loaded;
}

}  // namespace postern::config
