// reply.h - one SMTP reply, as a server gives it.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/mail/status.h"

namespace postern::mail {

struct Reply {
  int code = 250;
  std::optional<Status> status;  // none in the answers to EHLO, HELO and in the greeting
  std::vector<std::string> lines;

  [[nodiscard]] bool is_success() const { return code >= 200 && code < 300; }
  [[nodiscard]] bool is_temporary() const { return code >= 400 && code < 500; }
  [[nodiscard]] bool is_permanent() const { return code >= 500; }
  // 221 and 421 end the session, as do 521 where a session asks for it.
  [[nodiscard]] bool closes() const { return code == 221 || code == 421; }

  // "554 5.7.1 text" on one line, as the log has it: the lines joined by blanks.
  [[nodiscard]] std::string to_line() const;
  // What goes to the client, CRLF and all: "250-first\r\n250 last\r\n". The status is repeated on
  // each line. Control characters of the texts come out as `?`: a table's or policy server's answer
  // cannot end the line.
  [[nodiscard]] std::string to_wire() const;
  void append_wire(std::string& out) const;

  friend bool operator==(const Reply&, const Reply&) = default;
};

// From "554 5.7.1 text": what restrictions, milters and templates give.
[[nodiscard]] Reply make_reply(int code, std::string_view text);
[[nodiscard]] Reply make_reply(int code, const Status& status, std::string text);
// The same for now only, 4xx for 5xx (soft_bounce).
[[nodiscard]] Reply softened(Reply reply);
// "550 5.1.1 text" with the code in the text; nullopt where it has none from 200 to 599.
[[nodiscard]] std::optional<Reply> parse_reply_text(std::string_view text);

}  // namespace postern::mail
