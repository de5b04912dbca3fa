// conf.h - what the administrator says about names: resolv.conf(5) and hosts(5). Pure.
//
// Lines that make no sense are passed over, as the C library does. What only concerns short names
// (search, domain, ndots) has no meaning here: mail has whole domain names.

#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/text.h"
#include "common/dns/wire.h"
#include "common/sys/socket.h"

namespace postern::dns {

struct ResolvConf {
  std::vector<sys::SocketAddress> servers{};  // without one: 127.0.0.1
  std::chrono::seconds timeout{5};
  unsigned attempts = 2;
  // The AD bit of these servers is worth something: `options trust-ad`, or all are this machine.
  bool trust_ad = false;
};

inline constexpr std::size_t kMaxServers = 8;

[[nodiscard]] ResolvConf parse_resolv_conf(std::string_view text);

class HostsFile {
 public:
  static constexpr std::size_t kMaxNames = 100'000;

  HostsFile() = default;
  [[nodiscard]] static HostsFile parse(std::string_view text);

  // All addresses of a name, in file order.
  [[nodiscard]] std::vector<Address> addresses_of(std::string_view name) const;
  // The first name of an address; empty when there is none.
  [[nodiscard]] std::string name_of(const Address& address) const;

 private:
  std::map<std::string, std::vector<Address>, LessNocase> addresses_;
  std::map<std::string, std::string> names_;  // by the address as text
};

}  // namespace postern::dns
