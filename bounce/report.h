// report.h - composes a notification: RFC 3462 multipart/report with an RFC 3464 delivery status.
//
// Pure: facts in, message content out (header, empty line, body; LF line ends). The parts:
//
//     Notification       text/plain: the template, then each recipient with its reason
//     Delivery report    message/delivery-status: the same for programs
//     ... Message        message/rfc822 with the whole message, or text/rfc822-headers
//
// Date, From, Subject, To, Auto-Submitted and MIME fields are here; Received and Message-Id are
// added where every message gets them, as is the domain behind MAILER-DAEMON.
//
// Reasons quote what other hosts said. Nothing of it can end a line or begin a field: control
// characters are replaced, bytes that are no UTF-8 too.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bounce/template.h"
#include "common/base/clock.h"

namespace postern::bounce {

enum class NoticeKind {
  kFailure,
  kDelay,
  kSuccess,
  kDelayCleared,  // a success, to whom a delay was announced (confirm_delay_cleared)
  kVerify,        // sendmail -v, -bv
};

enum class Audience {
  kSender,
  kPostmaster,  // notify_classes
};

// Does a recipient's NOTIFY (RFC 3461 4.1, bits of queuefile::Notify; 0: not said) ask for this?
[[nodiscard]] bool is_wanted(NoticeKind kind, std::uint8_t notify);

enum class Returned { kFull, kHeaders };

// What of the message goes back. Only failures return content, unless RET=HDRS (`ret_headers`) or
// a message above `size_limit` (bounce_size_limit; 0: none).
[[nodiscard]] Returned what_to_return(NoticeKind kind, bool ret_headers, std::uint64_t message_size,
                                      std::uint64_t size_limit);

struct ReportRecipient {
  std::string address{};
  std::string orig_to{};
  std::string dsn_orcpt{};        // "rfc822;address"; may be empty
  std::string action{};           // "failed", "delayed", "delivered", "relayed", "expanded"
  std::string status{};           // "5.1.1"
  std::string text{};             // the reason, as logged
  std::string remote_mta{};       // "dns; mx.example.org"; may be empty
  std::string diagnostic_type{};  // "smtp"; empty: ours
  std::string diagnostic{};       // "550 5.1.1 no such user"; empty: text
};

struct Report {
  NoticeKind kind = NoticeKind::kFailure;
  Audience audience = Audience::kSender;
  std::string mail_name{};  // for X-Postfix-Queue-ID and its like
  std::string myhostname{};
  std::string to{};         // who gets it
  std::string queue_id{};   // of the message that it is about
  std::string sender{};     // of that message; may be empty
  std::string dsn_envid{};  // decoded; may be empty
  WallTime arrival{};
  WallTime now{};
  std::optional<WallTime> retry_until{};  // of a delay
  bool is_7bit = false;                   // the message is known to be 7bit
  bool is_threaded = false;               // enable_threaded_bounces
  bool is_utf8 = false;                   // SMTPUTF8: RFC 6533 types
  Template words{};                       // its text expanded
  std::vector<ReportRecipient> recipients{};
  Returned returned = Returned::kFull;
  std::string_view header{};  // of the message, each line ending in LF
  std::string_view body{};    // for kFull
};

[[nodiscard]] std::string compose_report(const Report& report);

// Appends `text` in lines of at most 79 columns where blanks allow it, following lines indented by
// four. Ends with LF.
void append_wrapped(std::string& out, std::string_view text);

}  // namespace postern::bounce
