// Any bytes as a next hop, as an address in a command, and as a server's answer quoted in the log.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/smtpclient/destination.h"
#include "common/smtpclient/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern;
  using namespace postern::smtpclient;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Names of services are looked up in a file: only numbers are worth the time here.
  for (const auto protocol : {Protocol::kSmtp, Protocol::kLmtp}) {
    if (text.find(':') != std::string_view::npos && !text.ends_with("25")) continue;
    const auto destination = parse_destination(text, protocol, "25");
    if (destination && !destination->is_unix() && destination->host.empty()) std::abort();
  }
  if (split_nexthop(text).size() > kMaxDestinations) std::abort();

  smtpwire::Features features;
  features.dsn = features.size = features.eight_bit_mime = true;
  if (is_sendable(text)) {
    queuefile::Envelope envelope;
    envelope.dsn_envid = text;
    const Recipient to{text, text, text, 15};
    const std::string mail = mail_command(text, envelope, 1, features, true);
    const std::string rcpt = rcpt_command(to, features, true);
    if (!is_sendable(mail) || !is_sendable(rcpt)) std::abort();
  }
  const std::string quoted = quote_reply({550, {std::string(text), std::string(text)}});
  if (quoted.find('\n') != std::string::npos || quoted.size() > 4096) std::abort();
  return 0;
}
