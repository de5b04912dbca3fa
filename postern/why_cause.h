// why_cause.h - what a reason for a message's waiting means, in plain words, and what helps.
//
// Pure: it looks at the status code and the text of a delivery's log entry, as our clients and
// other servers write them.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

struct Symptom {
  std::string_view queue{};   // where the message is: "deferred", "hold", ...
  std::string_view status{};  // "4.4.1"; empty: nothing was tried yet
  std::string_view text{};
};

struct Cause {
  std::string_view key{};       // "refused", "timeout", ...: for programs
  std::string_view sentence{};  // for people

  friend bool operator==(const Cause&, const Cause&) = default;
};

// Always one: what is not known says so.
[[nodiscard]] Cause find_cause(const Symptom& symptom);

// The server that a reason speaks of, or "" when it names none.
[[nodiscard]] std::string host_in(std::string_view text);

// Commands that help with a cause. Names that a shell would not take as they are give none.
[[nodiscard]] std::vector<std::string> advice(const Cause& cause, std::string_view queue_id,
                                              std::string_view domain, std::string_view host);

}  // namespace postern::control
