// plan.h - what is said to a server, and what its answers mean for the recipients. Pure.
//
// A failure is soft (4.x.x) or hard (5.x.x). After a hard one the recipients concerned bounce.
// After a soft one they are kept for the next server while there is one, and deferred by the last.

#pragma once

#include <string>
#include <string_view>

#include "common/loop/stream.h"
#include "common/queuefile/envelope.h"
#include "common/smtpclient/job.h"
#include "common/smtpwire/ehlo.h"
#include "common/smtpwire/reply_reader.h"

namespace postern::smtpclient {

// Where in the dialogue something happens.
enum class Step : unsigned char {
  kGreeting,
  kEhlo,
  kHelo,
  kLhlo,
  kStarttls,
  kAuth,
  kXforward,
  kMail,
  kRcpt,
  kData,
  kContent,
  kEndOfData,
  kRset,
  kQuit,
};
// "sending MAIL FROM", as in "timed out while ..."
[[nodiscard]] std::string_view doing(Step step);
// "MAIL FROM command", as in "(in reply to ...)"
[[nodiscard]] std::string_view command_of(Step step);

// What DNSSEC says of how we came to a server.
struct DnsTrust {
  bool is_domain_secure = false;  // the MX records, or the host's addresses where there are none
  bool is_host_secure = false;    // the host's addresses
  std::string canonical_name{};   // where the host's aliases lead; empty: it has none
  friend bool operator==(const DnsTrust&, const DnsTrust&) = default;
};

// A server, as texts show it.
struct Endpoint {
  std::string name;        // mx.example.org; for UNIX sockets our own name
  std::string address;     // 192.0.2.1, or the path
  std::uint16_t port = 0;  // 0: UNIX socket
  DnsTrust trust{};

  [[nodiscard]] std::string host() const;   // "mx.example.org[192.0.2.1]"
  [[nodiscard]] std::string relay() const;  // with ":25"
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// A reply as it is quoted: "550-5.1.1 first line 550 5.1.1 second".
[[nodiscard]] std::string quote_reply(const smtpwire::ServerReply& reply);

// --- failures ---

[[nodiscard]] Verdict connect_failed(const Endpoint& endpoint, std::string_view why);
// A greeting or HELO reply that is no welcome. `soften` makes 5xx temporary: the next server may
// think otherwise (smtp_skip_5xx_greeting).
[[nodiscard]] Verdict refused_to_talk(const Endpoint& endpoint, const smtpwire::ServerReply& reply,
                                      bool soften);
// A reply that makes no sense at its place (250 to DATA, 354 to the final dot) is temporary.
[[nodiscard]] Verdict said(const Endpoint& endpoint, const smtpwire::ServerReply& reply, Step step);
// The connection broke or timed out.
[[nodiscard]] Verdict stream_failed(const Endpoint& endpoint, loop::Io io, Step step);
[[nodiscard]] Verdict not_smtp(const Endpoint& endpoint, std::string_view why, Step step);
// Everything else that is found out here rather than there.
[[nodiscard]] Verdict own_failure(std::string_view status, std::string text);

// RFC 5321 4.5.3.1.10: 552 to RCPT means "too many recipients", which is temporary.
void correct_rcpt_reply(smtpwire::ServerReply& reply);

[[nodiscard]] Verdict accepted(const Endpoint& endpoint, const smtpwire::ServerReply& reply);

// Whether the recipients wait for the next server instead of being reported. With soft_bounce what
// is hard is no better than what is soft.
[[nodiscard]] inline bool is_kept(const Verdict& verdict, bool is_final, bool soft_bounce) {
  return (soft_bounce || verdict.is_temporary()) && !is_final;
}

// --- commands ---

// Without line end. Addresses have passed is_sendable().
[[nodiscard]] std::string mail_command(std::string_view sender, const queuefile::Envelope& envelope,
                                       std::uint64_t message_size,
                                       const smtpwire::Features& features, bool quote);
[[nodiscard]] std::string rcpt_command(const Recipient& recipient,
                                       const smtpwire::Features& features, bool quote);

// XFORWARD in parts that stay within a command's length; empty where there is nothing to say to
// this server (XFORWARD_README).
inline constexpr std::size_t kXforwardParts = 2;
[[nodiscard]] std::string xforward_command(const queuefile::Envelope& envelope,
                                           std::string_view queue_id,
                                           const smtpwire::Features& features, std::size_t part);

// No control characters: nothing of an address may end the line.
[[nodiscard]] bool is_sendable(std::string_view address);

// Why this server cannot get this message, before it is asked: size, SMTPUTF8. An empty text: it
// can.
[[nodiscard]] Verdict find_obstacle(const Endpoint& endpoint, const queuefile::Envelope& envelope,
                                    std::uint64_t message_size, const smtpwire::Features& features);

}  // namespace postern::smtpclient
