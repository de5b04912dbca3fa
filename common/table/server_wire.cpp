#include "common/table/server_wire.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::table {

namespace {

using State = ServerReply::State;

constexpr std::string_view kTcp = "tcp:";
constexpr std::string_view kSocketmap = "socketmap:";
// Digits of a netstring's length.
constexpr std::size_t kMaxLengthDigits = 10;

ServerReply bad(std::string_view what) {
  return {State::kBad, 0, fail_temporary(std::string(what))};
}

ServerReply done(std::size_t consumed, Found found) {
  return {State::kDone, consumed, std::move(found)};
}

std::string encode_tcp(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c < 0x7F && c != '%') {
      out += c;
    } else {
      out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::optional<std::string> decode_tcp(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text.front() != '%') {
      const auto plain = text.substr(0, text.find('%'));
      out += plain;
      text.remove_prefix(plain.size());
      continue;
    }
    const auto byte = hex_decode(text.substr(1, 2));
    if (!byte || byte->size() != 1) return std::nullopt;
    out += *byte;
    text.remove_prefix(3);
  }
  return out;
}

ServerReply parse_tcp(std::string_view input) {
  const auto end = input.find('\n');
  if (end == std::string_view::npos && input.size() < kMaxTcpLine) return {};
  if (end == std::string_view::npos || end >= kMaxTcpLine) return bad("reply is too long");
  std::string_view line = input.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  const auto [code, rest] = split_at_first(line, ' ');
  const auto text = decode_tcp(rest);
  if (!text) return bad("reply is not encoded as it should be");
  if (code == "500") return done(end + 1, std::nullopt);
  if (code == "200" && line.size() > code.size()) return done(end + 1, *text);
  if (code == "400") return done(end + 1, fail_temporary(fmt::format("server says: {}", *text)));
  return bad("unexpected reply");
}

ServerReply parse_socketmap(std::string_view input, const ServerLimits& limits) {
  const auto colon = input.substr(0, kMaxLengthDigits + 1).find(':');
  const std::string_view digits = input.substr(0, std::min(colon, input.size()));
  if (!is_all_digits(digits)) return input.empty() ? ServerReply{} : bad("reply is no netstring");
  if (colon == std::string_view::npos) {
    return digits.size() > kMaxLengthDigits ? bad("reply is no netstring") : ServerReply{};
  }
  const auto length = parse_integer<std::size_t>(digits);
  if (!length || *length > limits.max_reply)
    return bad("reply is longer than socketmap_max_reply_size");
  const std::string_view rest = input.substr(colon + 1);
  if (rest.size() < *length + 1) return {};
  if (rest[*length] != ',') return bad("reply is no netstring");
  const std::size_t consumed = colon + 1 + *length + 1;
  const auto [status, text] = split_at_first(rest.substr(0, *length), ' ');
  if (status == "OK") return done(consumed, std::string(text));
  if (status == "NOTFOUND") return done(consumed, std::nullopt);
  if (status == "TEMP" || status == "TIMEOUT" || status == "PERM") {
    return done(consumed, fail_temporary(fmt::format("server says: {} {}", status, text)));
  }
  return bad("unexpected reply");
}

}  // namespace

bool is_server_table(std::string_view type_and_name) {
  return type_and_name.starts_with(kTcp) || type_and_name.starts_with(kSocketmap);
}

Result<ServerAddress> parse_server_table(std::string_view type_and_name) {
  const auto wrong = [&](std::string_view form) {
    return fail(Error::Kind::kConfig, fmt::format("{}: {} is expected", type_and_name, form));
  };
  ServerAddress server;
  if (type_and_name.starts_with(kTcp)) {
    const std::string_view name = type_and_name.substr(kTcp.size());
    const auto [host, port] = split_at_last(name, ':');
    if (host.empty() || port.empty()) return wrong("tcp:host:port");
    server.endpoint = fmt::format("inet:{}", name);
    return server;
  }
  if (!type_and_name.starts_with(kSocketmap)) return wrong("tcp: or socketmap:");
  constexpr std::string_view kForm = "socketmap:inet:host:port:name or socketmap:unix:path:name";
  server.protocol = ServerAddress::Protocol::kSocketmap;
  const auto [endpoint, map] = split_at_last(type_and_name.substr(kSocketmap.size()), ':');
  server.map = map;
  server.endpoint = endpoint;
  if (map.empty() || map.find(' ') != std::string_view::npos) return wrong(kForm);
  if (endpoint.starts_with("unix:")) {
    if (endpoint.size() <= 5) return wrong(kForm);
  } else if (endpoint.starts_with("inet:")) {
    const auto [host, port] = split_at_last(endpoint.substr(5), ':');
    if (host.empty() || port.empty()) return wrong(kForm);
  } else {
    return wrong(kForm);
  }
  return server;
}

Result<std::string> encode_request(const ServerAddress& server, std::string_view key,
                                   const ServerLimits& limits) {
  if (server.protocol == ServerAddress::Protocol::kTcp) {
    std::string line = fmt::format("get {}\n", encode_tcp(key));
    if (line.size() > kMaxTcpLine) return fail_temporary("the key is too long for the protocol");
    return line;
  }
  const std::string request = fmt::format("{} {}", server.map, key);
  if (request.size() > limits.max_query) {
    return fail_temporary("the key is longer than socketmap_max_query_size");
  }
  return fmt::format("{}:{},", request.size(), request);
}

ServerReply parse_server_reply(const ServerAddress& server, std::string_view input,
                               const ServerLimits& limits) {
  return server.protocol == ServerAddress::Protocol::kTcp ? parse_tcp(input)
                                                          : parse_socketmap(input, limits);
}

}  // namespace postern::table
