#include "common/smtpclient/destination.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::smtpclient {

namespace {

struct KnownPort {
  std::string_view name;
  std::uint16_t port;
};
// So that the common ones need no services(5), which a chroot may lack.
constexpr std::array kKnownPorts = {KnownPort{"smtp", 25}, KnownPort{"lmtp", 24},
                                    KnownPort{"submission", 587}, KnownPort{"submissions", 465},
                                    KnownPort{"smtps", 465}};

constexpr std::string_view kListSeparators = ", \t\r\n";

Result<std::uint16_t> port_of(std::string_view service, std::string_view text) {
  const auto port = find_port(service);
  if (!port) {
    return fail(Error::Kind::kConfig,
                fmt::format("unknown service: {}/tcp in destination {}", service, text));
  }
  return *port;
}

}  // namespace

std::optional<std::uint16_t> find_port(std::string_view service) {
  if (is_all_digits(service)) return parse_integer<std::uint16_t>(service, 1);
  for (const auto& known : kKnownPorts) {
    if (known.name == service) return known.port;
  }
  std::array<char, 2048> buffer{};
  servent entry{};
  servent* found = nullptr;
  const std::string name(service);
  if (::getservbyname_r(name.c_str(), "tcp", &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return ntohs(static_cast<std::uint16_t>(found->s_port));
}

Result<Destination> parse_destination(std::string_view text, Protocol protocol,
                                      std::string_view default_service) {
  Destination out;
  out.text = text;
  if (protocol == Protocol::kLmtp) {
    out.use_mx = false;
    if (text.starts_with("unix:")) {
      out.path = text.substr(5);
      if (out.path.empty()) {
        return fail(Error::Kind::kConfig, fmt::format("no socket in destination {}", text));
      }
      return out;
    }
    if (text.starts_with("inet:")) text.remove_prefix(5);
  }
  std::string_view service = default_service;
  std::string_view host = text;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) {
      return fail(Error::Kind::kConfig, fmt::format("`]' is missing in destination {}", text));
    }
    out.use_mx = false;
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (rest.starts_with(':') && rest.size() > 1) {
      service = rest.substr(1);
    } else if (!rest.empty() && rest != ":") {
      return fail(Error::Kind::kConfig, fmt::format("text behind `]' in destination {}", text));
    }
    if (starts_with_nocase(host, "ipv6:")) host.remove_prefix(5);
  } else if (const auto colon = text.find(':');
             colon != std::string_view::npos &&
             text.find(':', colon + 1) == std::string_view::npos) {
    // More than one colon is a bare IPv6 address.
    host = text.substr(0, colon);
    if (colon + 1 < text.size()) service = text.substr(colon + 1);
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty()) {
    return fail(Error::Kind::kConfig, fmt::format("no host in destination \"{}\"", out.text));
  }
  out.host = host;
  out.service = service;
  TRY(out.port, port_of(service, out.text));
  return out;
}

std::vector<std::string> split_nexthop(std::string_view nexthop) {
  std::vector<std::string> out;
  for (const auto word : split_words(nexthop, kListSeparators)) {
    if (out.size() < kMaxDestinations) out.emplace_back(word);
  }
  return out;
}

}  // namespace postern::smtpclient
