// problem.h - what is wrong with the configuration, and where.
//
// Reading the configuration never stops at the first fault: each one becomes a Problem, and the
// caller decides. A warning leaves the system as the administrator meant it; an error means that
// something he wrote has no effect or the wrong one, so `check` and `reload` refuse it.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::config {

enum class Severity : unsigned char { kWarning, kError };

struct Problem {
  std::string file;   // empty when the fault is in no file
  unsigned line = 0;  // 0 when the fault is in no line
  std::string parameter;
  std::string text;
  Severity severity = Severity::kError;

  friend bool operator==(const Problem&, const Problem&) = default;
};

using Problems = std::vector<Problem>;

// "/etc/postern/main.cf:14", "/etc/postern/main.cf" or "".
[[nodiscard]] std::string place_of(const Problem& problem);

// "/etc/postern/main.cf, line 14: text", as the log shows it.
[[nodiscard]] std::string log_text(const Problem& problem);

[[nodiscard]] bool has_error(const Problems& problems);

}  // namespace postern::config
