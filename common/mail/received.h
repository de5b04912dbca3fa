// received.h - the trace line that each hop puts in front of a message.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"

namespace postern::mail {

// What a Received: field says. Empty members are left out.
struct ReceivedTrace {
  std::string helo;              // as the client gave it; client_name where it gave none
  std::string client_name;       // "unknown" where there is none
  std::string client_address;    // in RFC 5321 form: 192.0.2.1, IPv6:2001:db8::1
  std::vector<std::string> tls;  // lines within the first parentheses: "using TLSv1.3 with ..."
  std::string tls_peer;          // Client CN "x", Issuer "y" (verified OK)
  std::string sasl_username;     // smtpd_sasl_authenticated_header
  std::string myhostname;
  std::string mail_name;
  std::string protocol;  // SMTP, ESMTP, ESMTPS, ESMTPSA, UTF8SMTP, LMTP ...
  std::string queue_id;
  std::string recipient;  // internal; given only when it is the one recipient
  WallTime arrival;
};

// Lines joined by LF, no LF at the end.
[[nodiscard]] std::string format_received(const ReceivedTrace& trace);
// Local submission: "Received: by host (name, from userid 1000)".
[[nodiscard]] std::string format_received_local(std::string_view myhostname,
                                                std::string_view mail_name, unsigned long uid,
                                                std::string_view queue_id, WallTime arrival);
// Made by ourselves (bounces, forwards): "Received: by host (name)".
[[nodiscard]] std::string format_received_internal(std::string_view myhostname,
                                                   std::string_view mail_name,
                                                   std::string_view queue_id, WallTime arrival);

// What a HELO name may look like in a header: printable ASCII (and UTF-8 with `utf8`) without what
// could end the comment; other characters become `?`.
[[nodiscard]] std::string clean_trace_text(std::string_view text, bool utf8 = false);

}  // namespace postern::mail
