// status.h - enhanced status codes of RFC 3463: class.subject.detail.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::mail {

struct Status {
  unsigned klass = 5;  // 2, 4 or 5
  unsigned subject = 0;
  unsigned detail = 0;

  [[nodiscard]] std::string to_string() const;  // "5.1.1"
  [[nodiscard]] bool is_success() const { return klass == 2; }
  [[nodiscard]] bool is_temporary() const { return klass == 4; }

  friend bool operator==(const Status&, const Status&) = default;
};

// The code at the start of `text`, which a blank or the end must follow; at most three digits in
// each of the last two numbers.
[[nodiscard]] std::optional<Status> parse_status(std::string_view text);

// "5.1.1 text" into its two parts; `fallback` where the text starts with no code.
struct StatusText {
  Status status;
  std::string_view text;
};
[[nodiscard]] StatusText split_status(std::string_view text, const Status& fallback);

// The status of a reply's text: its own code if it has one of the reply code's class, else x.0.0.
// A remote host that answers 450 5.1.1 means 4xx: the reply code counts (RFC 5321 4.2).
[[nodiscard]] StatusText status_of_reply(int code, std::string_view text);

}  // namespace postern::mail
