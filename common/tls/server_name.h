// server_name.h - the host name that a client sends in its hello (SNI, RFC 6066 3). Pure.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::tls {

// The name in the extension's bytes, in lower case. Nothing for what is malformed, holds more than
// one name, or is no name that a host can have: such clients see the default certificate.
[[nodiscard]] std::optional<std::string> parse_server_name(std::string_view extension);

}  // namespace postern::tls
