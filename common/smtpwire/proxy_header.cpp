#include "common/smtpwire/proxy_header.h"

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/networks.h"

namespace postern::smtpwire {

namespace {

constexpr std::string_view kStart = "PROXY ";
constexpr std::size_t kMaxLine = 107;  // with its line end
constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixed = 16;  // of version 2
constexpr std::uint16_t kMaxBlock = 4096;

ProxyHeader refuse(std::string_view why) {
  ProxyHeader header;
  header.state = ProxyHeader::State::kBad;
  header.fault = why;
  return header;
}

unsigned byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

std::uint16_t number_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>((byte_at(bytes, at) << 8U) | byte_at(bytes, at + 1));
}

config::IpAddress address_at(std::string_view bytes, std::size_t at, bool is_v6) {
  config::IpAddress address;
  address.is_v6 = is_v6;
  const std::size_t size = is_v6 ? 16 : 4;
  for (std::size_t i = 0; i < size; ++i) {
    address.bytes[i] = static_cast<unsigned char>(bytes[at + i]);
  }
  return address;
}

// An address in the family that the header names, nothing around it.
bool is_address(std::string_view text, bool is_v6) {
  const bool has_colon = text.find(':') != std::string_view::npos;
  if (text.starts_with('[') || has_colon != is_v6) return false;
  if (text.size() >= 5 && equal_nocase(text.substr(0, 5), "ipv6:")) return false;
  return config::parse_ip_address(text).has_value();
}

ProxyHeader parse_line(std::string_view buffer) {
  const auto end = buffer.substr(0, kMaxLine).find('\n');
  if (end == std::string_view::npos) {
    return buffer.size() >= kMaxLine ? refuse("the line is too long") : ProxyHeader{};
  }
  if (end == 0 || buffer[end - 1] != '\r') return refuse("the line does not end in CRLF");
  const auto words = split_fields(buffer.substr(kStart.size(), end - 1 - kStart.size()), ' ');
  ProxyHeader header;
  header.state = ProxyHeader::State::kDone;
  header.consumed = end + 1;
  // What follows UNKNOWN is not looked at.
  if (!words.empty() && words[0] == "UNKNOWN") {
    header.is_local = true;
    return header;
  }
  if (words.size() != 5) return refuse("wrong number of words");
  const bool is_v6 = words[0] == "TCP6";
  if (!is_v6 && words[0] != "TCP4") return refuse("unknown protocol");
  if (!is_address(words[1], is_v6)) return refuse("bad client address");
  if (!is_address(words[2], is_v6)) return refuse("bad server address");
  const auto client_port = parse_integer<std::uint16_t>(words[3]);
  const auto server_port = parse_integer<std::uint16_t>(words[4]);
  if (!client_port || !server_port) return refuse("bad port");
  header.client_address = config::to_string(*config::parse_ip_address(words[1]));
  header.server_address = config::to_string(*config::parse_ip_address(words[2]));
  header.client_port = *client_port;
  header.server_port = *server_port;
  return header;
}

ProxyHeader parse_binary(std::string_view buffer) {
  if (buffer.size() < kFixed) return {};
  const unsigned version = byte_at(buffer, 12) >> 4U;
  const unsigned command = byte_at(buffer, 12) & 0x0fU;
  const unsigned family = byte_at(buffer, 13);
  const std::uint16_t length = number_at(buffer, 14);
  if (version != 2) return refuse("unknown version");
  if (command > 1) return refuse("unknown command");
  if (length > kMaxBlock) return refuse("the header is too long");
  if (buffer.size() < kFixed + length) return {};
  ProxyHeader header;
  header.state = ProxyHeader::State::kDone;
  header.consumed = kFixed + length;
  constexpr unsigned kTcp4 = 0x11;
  constexpr unsigned kTcp6 = 0x21;
  if (command == 0 || (family != kTcp4 && family != kTcp6)) {
    header.is_local = true;
    return header;
  }
  const bool is_v6 = family == kTcp6;
  const std::size_t size = is_v6 ? 16 : 4;
  if (length < 2 * size + 4) return refuse("the addresses are cut off");
  header.client_address = config::to_string(address_at(buffer, kFixed, is_v6));
  header.server_address = config::to_string(address_at(buffer, kFixed + size, is_v6));
  header.client_port = number_at(buffer, kFixed + 2 * size);
  header.server_port = number_at(buffer, kFixed + 2 * size + 2);
  return header;
}

// Whether `buffer` may be, or become, what begins with `start`.
bool begins_like(std::string_view buffer, std::string_view start) {
  const std::size_t size = std::min(buffer.size(), start.size());
  return buffer.substr(0, size) == start.substr(0, size);
}

}  // namespace

ProxyHeader parse_proxy_header(std::string_view buffer) {
  if (buffer.starts_with(kStart)) return parse_line(buffer);
  if (buffer.starts_with(kSignature)) return parse_binary(buffer);
  if (begins_like(buffer, kStart) || begins_like(buffer, kSignature)) return {};
  return refuse("no proxy header");
}

}  // namespace postern::smtpwire
