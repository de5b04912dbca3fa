// service.h - the questions that reach private/resolver, made of single look-ups.
//
// resolv.conf and hosts are read again when they have changed, which is looked at once a second at
// most, when there is a question.

#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/dns/conf.h"
#include "common/dns/resolver.h"
#include "common/ipc/resolver.h"
#include "common/ipc/server.h"

namespace postern::resolver {

struct Files {
  std::string resolv_conf = "/etc/resolv.conf";
  std::string hosts = "/etc/hosts";
};

// What the service answers, without its socket.
class Finder {
 public:
  explicit Finder(Files files = {});

  loop::Task<Result<ipc::resolver::Answer>> query(ipc::resolver::Query query);
  loop::Task<Result<ipc::resolver::Hosts>> find_hosts(ipc::resolver::FindHosts request);
  loop::Task<Result<ipc::resolver::Peer>> find_peer(ipc::resolver::FindPeer request);

  // For tests: other servers than those of resolv.conf, which then is not read.
  void use(dns::ResolvConf conf, dns::HostsFile hosts);

 private:
  // A file's identity at the time it was read.
  struct Stamp {
    std::int64_t seconds = 0, nanoseconds = 0;
    ino_t inode = 0;
    off_t size = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  using Families = std::pair<bool, bool>;  // IPv4, IPv6

  void refresh();
  [[nodiscard]] static std::optional<Stamp> stamp_of(const std::string& path);
  loop::Task<ipc::resolver::Hosts> find_servers(std::string domain, ipc::resolver::FindHosts how);
  loop::Task<ipc::resolver::Host> find_addresses(std::string name, ipc::resolver::FindHosts how);
  // Is the address among those of the name? Else why not, as the C library words it.
  loop::Task<std::optional<std::string>> why_not(std::string name, dns::Address address,
                                                 ipc::resolver::Status* status);

  Files files_;
  bool is_fixed_ = false;
  loop::TimePoint looked_{};
  std::optional<Stamp> resolv_stamp_;
  std::optional<Stamp> hosts_stamp_;
  dns::HostsFile hosts_;
  dns::Resolver resolver_;
};

class Service {
 public:
  explicit Service(sys::Fd listener, ipc::Peers clients = {}, Files files = {});
  void start();
  // Takes no more questions. All of them may be asked again, so the clients go to the next process.
  void stop();

 private:
  Finder finder_;
  ipc::Server server_;
};

}  // namespace postern::resolver
