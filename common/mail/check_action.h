// check_action.h - the right-hand sides of header_checks(5).

#pragma once

#include <string>
#include <string_view>

namespace postern::mail {

struct CheckAction {
  enum class Verb : unsigned char {
    kDunno,
    kBcc,
    kDiscard,
    kFilter,
    kHold,
    kIgnore,
    kInfo,
    kPass,
    kPrepend,
    kRedirect,
    kReject,
    kReplace,
    kStrip,
    kWarn,
    kUnknown,
  };
  Verb verb = Verb::kDunno;
  std::string text;  // what follows the word
};
[[nodiscard]] CheckAction parse_check_action(std::string_view value);

// The word of the log line: "reject", "warning", ...
[[nodiscard]] std::string_view log_word(CheckAction::Verb verb);

}  // namespace postern::mail
