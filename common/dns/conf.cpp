#include "common/dns/conf.h"

#include <algorithm>

#include "common/base/number.h"

namespace postern::dns {

namespace {

constexpr std::uint16_t kDnsPort = 53;
constexpr unsigned kMaxTimeout = 30;  // as the C library bounds them
constexpr unsigned kMaxAttempts = 5;

std::string_view next_line(std::string_view& text) {
  const auto lf = text.find('\n');
  const std::string_view line = text.substr(0, lf);
  text.remove_prefix(lf == std::string_view::npos ? text.size() : lf + 1);
  return line;
}

void apply_option(ResolvConf& conf, std::string_view option) {
  const auto [name, value] = split_at_first(option, ':');
  const auto number = parse_integer<unsigned>(value);
  if (name == "trust-ad") conf.trust_ad = true;
  if (name == "timeout" && number) {
    conf.timeout = std::chrono::seconds(std::clamp(*number, 1U, kMaxTimeout));
  }
  if (name == "attempts" && number) conf.attempts = std::clamp(*number, 1U, kMaxAttempts);
}

bool is_this_machine(const sys::SocketAddress& server) {
  const std::string host = server.host();
  return host.starts_with("127.") || host == "::1";
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    line = line.substr(0, line.find_first_of("#;"));
    const std::string_view keyword = next_word(line, kBlanks);
    if (keyword == "nameserver") {
      auto server = sys::parse_address(next_word(line, kBlanks), kDnsPort);
      if (server && conf.servers.size() < kMaxServers) conf.servers.push_back(*server);
    } else if (keyword == "options") {
      for (const auto option : split_words(line, kBlanks)) apply_option(conf, option);
    }
  }
  if (conf.servers.empty()) {
    if (auto server = sys::parse_address("127.0.0.1", kDnsPort)) conf.servers.push_back(*server);
  }
  conf.trust_ad = conf.trust_ad || std::ranges::all_of(conf.servers, is_this_machine);
  return conf;
}

HostsFile HostsFile::parse(std::string_view text) {
  HostsFile file;
  std::size_t count = 0;
  while (!text.empty() && count < kMaxNames) {
    std::string_view line = next_line(text);
    line = line.substr(0, line.find('#'));
    const auto address = parse_address(next_word(line, kBlanks));
    if (!address) continue;
    for (const auto name : split_words(line, kBlanks)) {
      if (++count > kMaxNames) break;
      auto& list = file.addresses_[std::string(name)];
      if (std::ranges::find(list, *address) == list.end()) list.push_back(*address);
      file.names_.try_emplace(address->to_text(), name);
    }
  }
  return file;
}

std::vector<Address> HostsFile::addresses_of(std::string_view name) const {
  const auto found = addresses_.find(name);
  return found == addresses_.end() ? std::vector<Address>() : found->second;
}

std::string HostsFile::name_of(const Address& address) const {
  const auto found = names_.find(address.to_text());
  return found == names_.end() ? std::string() : found->second;
}

}  // namespace postern::dns
