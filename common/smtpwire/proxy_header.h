// proxy_header.h - the header with which a proxy says whose connection it passes on (PROXY protocol
// versions 1 and 2, of HAProxy).
//
//     v1    PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\r\n          at most 107 bytes
//     v2    signature (12)  version and command (1)  family (1)  length (2)  addresses, extras
//
// Pure: any bytes give a header, a wish for more, or a refusal. Extras (TLVs) are skipped.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern::smtpwire {

struct ProxyHeader {
  enum class State : unsigned char {
    kMore,  // it is not whole yet
    kBad,   // this is no such header
    kDone,
  };
  State state = State::kMore;
  std::size_t consumed = 0;  // of kDone
  std::string_view fault;    // of kBad
  // The proxy speaks for itself (a health check), or of what is no IP connection: the addresses of
  // the connection itself count.
  bool is_local = false;
  std::string client_address;  // "192.0.2.7", "2001:db8::7"
  std::uint16_t client_port = 0;
  std::string server_address;
  std::uint16_t server_port = 0;
};

// A header is never longer: a buffer that has so much is kDone or kBad.
inline constexpr std::size_t kMaxProxyHeader = 16 + 4096;

[[nodiscard]] ProxyHeader parse_proxy_header(std::string_view buffer);

}  // namespace postern::smtpwire
