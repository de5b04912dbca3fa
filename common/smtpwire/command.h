// command.h - one SMTP command line, as a server reads it.
//
// Two steps. split_command() finds the verb and costs nothing; then, when the session has decided
// that the verb is in order, the parser of that verb turns the argument into a typed value or into
// the reply that refuses it. The replies are Postfix's, word for word: log readers and tests of
// other people compare them. What needs a table, a clock or a limit of the session is not judged
// here: SIZE against a limit, whether AUTH= is allowed, whether an address exists.

#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/mail/address.h"
#include "common/mail/reply.h"

namespace postern::smtpwire {

enum class Verb : unsigned char {
  kUnknown,
  kHelo,
  kEhlo,
  kLhlo,
  kMail,
  kRcpt,
  kData,
  kBdat,
  kRset,
  kNoop,
  kVrfy,
  kExpn,
  kEtrn,
  kHelp,
  kQuit,
  kStarttls,
  kAuth,
  kXclient,
  kXforward,
};
[[nodiscard]] std::string_view verb_name(Verb verb);

// Views into the line.
struct CommandLine {
  Verb verb = Verb::kUnknown;
  std::string_view name;      // as written; empty for an empty line
  std::string_view argument;  // without white space at both ends
};
[[nodiscard]] CommandLine split_command(std::string_view line);

template <typename T>
using Parsed = std::expected<T, mail::Reply>;

// The replies to a line that no parser gets to see.
[[nodiscard]] mail::Reply reply_unknown_command();  // 500 5.5.2
[[nodiscard]] mail::Reply reply_bad_syntax();       // 500 5.5.2, for an empty line
[[nodiscard]] mail::Reply reply_bad_sender();       // 501 5.1.7
[[nodiscard]] mail::Reply reply_bad_recipient();    // 501 5.1.3

enum class BodyType : unsigned char { kUnspecified, k7Bit, k8BitMime };
enum class DsnReturn : unsigned char { kUnspecified, kFull, kHeaders };

enum DsnNotify : std::uint8_t {
  kNotifyNever = 1U << 0U,
  kNotifySuccess = 1U << 1U,
  kNotifyFailure = 1U << 2U,
  kNotifyDelay = 1U << 3U,
};
using NotifyMask = std::uint8_t;  // 0: not given

// The parameters that a server has announced; any other is 555.
struct Extensions {
  bool smtputf8 = true;
  bool dsn = true;
  bool auth = true;   // false: AUTH= is taken and means nothing
  bool verp = false;  // XVERP, for smtpd_authorized_verp_clients
  bool requiretls = false;
  bool strict_rfc821_envelopes = false;
  std::string_view verp_delimiter_filter = "-=+";
  std::string_view default_verp_delimiters = "+=";
};

struct MailArguments {
  mail::Path sender;
  std::optional<std::uint64_t> size;
  BodyType body = BodyType::kUnspecified;
  bool smtputf8 = false;
  DsnReturn ret = DsnReturn::kUnspecified;
  std::string envid;                // as sent, xtext
  std::optional<std::string> auth;  // AUTH=, decoded; "<>" as it is
  std::string verp_delimiters;
  bool requires_tls = false;  // REQUIRETLS
};

struct RcptArguments {
  mail::Path recipient;
  NotifyMask notify = 0;
  std::string orcpt_type;     // "rfc822" or "utf-8"; empty without ORCPT
  std::string orcpt_address;  // decoded
};

struct BdatArguments {
  std::uint64_t size = 0;
  bool last = false;
};

struct AuthArguments {
  std::string mechanism;                        // upper case
  std::optional<std::string> initial_response;  // base64 as sent; "=" stands for empty
};

// XCLIENT and XFORWARD: name in upper case, value with xtext decoded.
using Attributes = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] Parsed<std::string> parse_helo(Verb verb, std::string_view argument);
[[nodiscard]] Parsed<MailArguments> parse_mail(std::string_view argument,
                                               const Extensions& extensions);
[[nodiscard]] Parsed<RcptArguments> parse_rcpt(std::string_view argument,
                                               const Extensions& extensions);
[[nodiscard]] Parsed<BdatArguments> parse_bdat(std::string_view argument);
// Internal address; the argument may be bare or in angle brackets.
[[nodiscard]] Parsed<std::string> parse_vrfy(std::string_view argument);
// The domain, `@` or `#` in front of it (RFC 1985) kept.
[[nodiscard]] Parsed<std::string> parse_etrn(std::string_view argument);
[[nodiscard]] Parsed<AuthArguments> parse_auth(std::string_view argument);
[[nodiscard]] Parsed<Attributes> parse_attributes(Verb verb, std::string_view argument);
// DATA, RSET and STARTTLS take none; NOOP and QUIT do not care.
[[nodiscard]] Parsed<void> parse_no_argument(Verb verb, std::string_view argument);

// "SUCCESS,FAILURE" and back, in the order NEVER SUCCESS FAILURE DELAY.
[[nodiscard]] std::optional<NotifyMask> parse_notify(std::string_view text);
[[nodiscard]] std::string print_notify(NotifyMask mask);

}  // namespace postern::smtpwire
