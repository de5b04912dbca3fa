#include "common/config/inet_service.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::config {

InetService split_inet_service(std::string_view name) {
  const auto colon = name.rfind(':');
  if (colon == std::string_view::npos) return {"", std::string(name)};
  std::string_view host = name.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return {std::string(host), std::string(name.substr(colon + 1))};
}

Result<std::uint16_t> find_tcp_port(const Values& values, std::string_view name) {
  if (is_all_digits(name)) {
    if (const auto port = parse_integer<std::uint16_t>(name, 1)) return *port;
    return fail(Error::Kind::kConfig, fmt::format("bad port number: {}", name));
  }
  // "lmtp=24, smtps=submissions=465"
  for (const std::string& entry : values.list("known_tcp_ports")) {
    const auto words = split_fields(entry, '=');
    if (std::find(words.begin(), words.end() - 1, name) == words.end() - 1) continue;
    if (const auto port = parse_integer<std::uint16_t>(words.back(), 1)) return *port;
  }
  const std::string text(name);
  if (const servent* const entry = ::getservbyname(text.c_str(), "tcp")) {
    return ntohs(static_cast<std::uint16_t>(entry->s_port));
  }
  return fail(Error::Kind::kConfig, fmt::format("unknown service: {}/tcp", name));
}

}  // namespace postern::config
