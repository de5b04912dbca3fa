#include "common/mail/received.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mail/date.h"

namespace postern::mail {

std::string clean_trace_text(std::string_view text, bool utf8) {
  const bool keep_8bit = utf8 && is_valid_utf8(text);
  std::string out;
  for (const char c : text) {
    const bool fine = is_ascii(c) ? is_printable(c) : keep_8bit;
    out += fine ? c : '?';
  }
  return out;
}

std::string format_received(const ReceivedTrace& trace) {
  const std::string_view helo = trace.helo.empty() ? trace.client_name : trace.helo;
  std::string out = fmt::format("Received: from {} ({} [{}])", clean_trace_text(helo, true),
                                clean_trace_text(trace.client_name), trace.client_address);
  if (!trace.tls.empty()) {
    out += "\n\t(";
    for (std::size_t i = 0; i < trace.tls.size(); ++i) {
      if (i > 0) out += "\n\t ";
      out += trace.tls[i];
    }
    out += ')';
  }
  if (!trace.tls_peer.empty()) {
    out += fmt::format("\n\t({})", clean_trace_text(trace.tls_peer, true));
  }
  if (!trace.sasl_username.empty()) {
    out += fmt::format("\n\t(Authenticated sender: {})", clean_trace_text(trace.sasl_username));
  }
  out += fmt::format("\n\tby {} ({}) with {}", trace.myhostname, trace.mail_name, trace.protocol);
  if (!trace.queue_id.empty()) out += " id " + trace.queue_id;
  // The date goes to the line of "for", and has one of its own where there is none.
  if (trace.recipient.empty()) return out + ";\n\t" + format_date(trace.arrival);
  out += fmt::format("\n\tfor <{}>", clean_trace_text(quote_address(trace.recipient), true));
  return out + "; " + format_date(trace.arrival);
}

std::string format_received_local(std::string_view myhostname, std::string_view mail_name,
                                  unsigned long uid, std::string_view queue_id, WallTime arrival) {
  return fmt::format("Received: by {} ({}, from userid {})\n\tid {}; {}", myhostname, mail_name,
                     uid, queue_id, format_date(arrival));
}

std::string format_received_internal(std::string_view myhostname, std::string_view mail_name,
                                     std::string_view queue_id, WallTime arrival) {
  return fmt::format("Received: by {} ({})\n\tid {}; {}", myhostname, mail_name, queue_id,
                     format_date(arrival));
}

}  // namespace postern::mail
