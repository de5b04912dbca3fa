#include "common/smtpclient/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/mail/address.h"
#include "common/smtpwire/command.h"

namespace postern::smtpclient {

namespace {

constexpr std::size_t kMaxQuoted = 4096;

// What a notification says of the server.
void blame(Verdict& verdict, const Endpoint& endpoint, std::string diagnostic) {
  verdict.remote_mta = "dns; " + endpoint.name;
  verdict.diagnostic_type = "smtp";
  verdict.diagnostic = std::move(diagnostic);
}

bool is_xtext(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return is_printable(c) && c != ' '; });
}

}  // namespace

std::string_view doing(Step step) {
  switch (step) {
    case Step::kGreeting:
      return "receiving the initial server greeting";
    case Step::kEhlo:
      return "performing the EHLO handshake";
    case Step::kHelo:
      return "performing the HELO handshake";
    case Step::kLhlo:
      return "performing the LHLO handshake";
    case Step::kStarttls:
      return "sending STARTTLS command";
    case Step::kAuth:
      return "performing the AUTH handshake";
    case Step::kXforward:
      return "sending XFORWARD command";
    case Step::kMail:
      return "sending MAIL FROM";
    case Step::kRcpt:
      return "sending RCPT TO";
    case Step::kData:
      return "sending DATA command";
    case Step::kContent:
      return "sending message body";
    case Step::kEndOfData:
      return "sending end of data -- message may be sent more than once";
    case Step::kRset:
      return "sending final RSET";
    case Step::kQuit:
      return "sending QUIT";
  }
  return "";
}

std::string_view command_of(Step step) {
  switch (step) {
    case Step::kGreeting:
      return "greeting";
    case Step::kEhlo:
      return "EHLO command";
    case Step::kHelo:
      return "HELO command";
    case Step::kLhlo:
      return "LHLO command";
    case Step::kStarttls:
      return "STARTTLS command";
    case Step::kAuth:
      return "AUTH command";
    case Step::kXforward:
      return "XFORWARD command";
    case Step::kMail:
      return "MAIL FROM command";
    case Step::kRcpt:
      return "RCPT TO command";
    case Step::kData:
      return "DATA command";
    case Step::kContent:
    case Step::kEndOfData:
      return "end of DATA command";
    case Step::kRset:
      return "final RSET command";
    case Step::kQuit:
      return "QUIT command";
  }
  return "";
}

std::string Endpoint::host() const { return fmt::format("{}[{}]", name, address); }

std::string Endpoint::relay() const {
  return port == 0 ? host() : fmt::format("{}[{}]:{}", name, address, port);
}

std::string quote_reply(const smtpwire::ServerReply& reply) {
  std::string out;
  const std::size_t count = std::max<std::size_t>(1, reply.lines.size());
  for (std::size_t i = 0; i < count && out.size() < kMaxQuoted; ++i) {
    if (i > 0) out += ' ';
    out += std::to_string(reply.code);
    const bool is_last = i + 1 == count;
    if (i >= reply.lines.size()) break;
    if (is_last && reply.lines[i].empty()) break;
    out += is_last ? ' ' : '-';
    out += reply.lines[i];
  }
  return log::clean(out, kMaxQuoted);
}

Verdict connect_failed(const Endpoint& endpoint, std::string_view why) {
  return own_failure("4.4.1", fmt::format("connect to {}: {}", endpoint.relay(), why));
}

Verdict refused_to_talk(const Endpoint& endpoint, const smtpwire::ServerReply& reply, bool soften) {
  Verdict out;
  out.status = reply.status().to_string();
  // A greeting of 2xx or 3xx that is none is a fault of the server's, which may pass.
  if (reply.klass() < '4' || (soften && reply.klass() == '5')) out.status[0] = '4';
  const std::string quoted = quote_reply(reply);
  out.text = fmt::format("host {} refused to talk to me: {}", endpoint.host(), quoted);
  out.relay = endpoint.relay();
  blame(out, endpoint, quoted);
  return out;
}

Verdict said(const Endpoint& endpoint, const smtpwire::ServerReply& reply, Step step) {
  Verdict out;
  out.status = reply.klass() >= '4' ? reply.status().to_string() : "4.5.0";
  const std::string quoted = quote_reply(reply);
  out.text =
      fmt::format("host {} said: {} (in reply to {})", endpoint.host(), quoted, command_of(step));
  out.relay = endpoint.relay();
  blame(out, endpoint, quoted);
  return out;
}

Verdict stream_failed(const Endpoint& endpoint, loop::Io io, Step step) {
  Verdict out = own_failure(
      "4.4.2",
      io == loop::Io::kTimeout
          ? fmt::format("conversation with {} timed out while {}", endpoint.host(), doing(step))
          : fmt::format("lost connection with {} while {}", endpoint.host(), doing(step)));
  out.relay = endpoint.relay();
  return out;
}

Verdict not_smtp(const Endpoint& endpoint, std::string_view why, Step step) {
  Verdict out = own_failure("4.5.0", fmt::format("protocol error of {} while {}: {}",
                                                 endpoint.host(), doing(step), log::clean(why)));
  out.relay = endpoint.relay();
  return out;
}

Verdict own_failure(std::string_view status, std::string text) {
  Verdict out;
  out.status = status;
  out.text = std::move(text);
  return out;
}

void correct_rcpt_reply(smtpwire::ServerReply& reply) {
  if (reply.code != 552 || reply.status().to_string() != "5.5.3") return;
  reply.code = 452;
  for (std::string& line : reply.lines) {
    if (line.starts_with("5.")) line[0] = '4';
  }
}

Verdict accepted(const Endpoint& endpoint, const smtpwire::ServerReply& reply) {
  Verdict out;
  out.status = reply.status().to_string();
  out.text = quote_reply(reply);
  out.relay = endpoint.relay();
  blame(out, endpoint, out.text);
  return out;
}

bool is_sendable(std::string_view address) { return std::ranges::none_of(address, is_control); }

std::string mail_command(std::string_view sender, const queuefile::Envelope& envelope,
                         std::uint64_t message_size, const smtpwire::Features& features,
                         bool quote) {
  std::string out = "MAIL FROM:<";
  out += quote ? mail::quote_address(sender) : std::string(sender);
  out += '>';
  if (features.size) out += fmt::format(" SIZE={}", message_size);
  if (features.eight_bit_mime) {
    if (envelope.encoding == queuefile::ContentEncoding::k8bit) out += " BODY=8BITMIME";
    if (envelope.encoding == queuefile::ContentEncoding::k7bit) out += " BODY=7BIT";
  }
  if (features.smtputf8 && (envelope.smtputf8 & queuefile::kUtf8Requested) != 0) {
    out += " SMTPUTF8";
  }
  if (features.dsn) {
    if (!envelope.dsn_envid.empty() && is_xtext(envelope.dsn_envid)) {
      out += " ENVID=" + envelope.dsn_envid;
    }
    if (envelope.dsn_ret == queuefile::DsnReturn::kFull) out += " RET=FULL";
    if (envelope.dsn_ret == queuefile::DsnReturn::kHeaders) out += " RET=HDRS";
  }
  return out;
}

std::string rcpt_command(const Recipient& recipient, const smtpwire::Features& features,
                         bool quote) {
  std::string out = "RCPT TO:<";
  out += quote ? mail::quote_address(recipient.address) : std::string(recipient.address);
  out += '>';
  if (!features.dsn) return out;
  if (const auto [type, address] = split_at_first(recipient.dsn_orcpt, ';');
      !address.empty() && is_xtext(type)) {
    out += fmt::format(
        " ORCPT={};{}", type,
        equal_nocase(type, "utf-8") ? xtext_encode_utf8(address) : xtext_encode(address));
  } else if (!recipient.orig_to.empty()) {
    out += is_all_ascii(recipient.orig_to)
               ? " ORCPT=rfc822;" + xtext_encode(mail::quote_address(recipient.orig_to))
               : " ORCPT=utf-8;" + xtext_encode_utf8(mail::quote_address(recipient.orig_to));
  }
  if (recipient.notify != 0) {
    constexpr std::int64_t kAll = queuefile::kNotifyAll;
    out += " NOTIFY=" +
           smtpwire::print_notify(static_cast<smtpwire::NotifyMask>(recipient.notify & kAll));
  }
  return out;
}

std::string xforward_command(const queuefile::Envelope& envelope, std::string_view queue_id,
                             const smtpwire::Features& features, std::size_t part) {
  std::string out;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (value.empty() || std::ranges::find(features.xforward_attributes, name) ==
                             features.xforward_attributes.end()) {
      return;
    }
    out += fmt::format("{} {}={}", out.empty() ? "XFORWARD" : "", name, xtext_encode(value));
  };
  const auto& client = envelope.client;
  const auto known = [](const std::string& value) {
    return value == "unknown" ? std::string_view() : std::string_view(value);
  };
  if (part == 0) {
    add("NAME", known(client.name));
    add("ADDR", known(client.address));
    add("PORT", known(client.port));
    return out;
  }
  const bool is_remote = envelope.origin == queuefile::Origin::kNetwork;
  add("PROTO", client.protocol);
  add("HELO", client.helo);
  if (is_remote) {
    std::string_view ident = queue_id;
    for (const auto& [name, value] : envelope.attributes) {
      if (name == "log_ident") ident = value;
    }
    add("IDENT", ident);
  }
  add("SOURCE", envelope.rewrite_context == "remote" ? "REMOTE" : "LOCAL");
  return out;
}

Verdict find_obstacle(const Endpoint& endpoint, const queuefile::Envelope& envelope,
                      std::uint64_t message_size, const smtpwire::Features& features) {
  Verdict out;
  if (features.size_limit && message_size > *features.size_limit) {
    out = own_failure("5.3.4", fmt::format("message size {} exceeds size limit {} of server {}",
                                           message_size, *features.size_limit, endpoint.host()));
  }
  constexpr unsigned kDerived =
      queuefile::kUtf8Header | queuefile::kUtf8Sender | queuefile::kUtf8Recipient;
  const bool needs_utf8 =
      (envelope.smtputf8 & queuefile::kUtf8Requested) != 0 && (envelope.smtputf8 & kDerived) != 0;
  if (needs_utf8 && !features.smtputf8) {
    out = own_failure("5.6.7", fmt::format("SMTPUTF8 is required, but was not offered by host {}",
                                           endpoint.host()));
  }
  out.relay = endpoint.relay();
  return out;
}

}  // namespace postern::smtpclient
