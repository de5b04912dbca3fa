// tls_wishes.h - what a message's own header says about the TLS of its deliveries (RFC 8689).

#pragma once

#include <string_view>

namespace postern::cleanup {

// How REQUIRETLS goes on where it is not known (requiretls_esmtp_header).
inline constexpr std::string_view kRequireTlsField = "Require-TLS-ESMTP";

// One field `TLS-Required: No` (RFC 8689 5).
[[nodiscard]] bool asks_for_no_tls(std::string_view header);
// One field `Require-TLS-ESMTP: yes`.
[[nodiscard]] bool asks_for_tls(std::string_view header);

}  // namespace postern::cleanup
