#include "common/mail/check_action.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"

namespace postern::mail {

namespace {

using Verb = CheckAction::Verb;

struct Word {
  std::string_view name;
  Verb verb;
  std::string_view log_word;
};

constexpr std::array kWords = {
    Word{"BCC", Verb::kBcc, "bcc"},
    Word{"DISCARD", Verb::kDiscard, "discard"},
    Word{"DUNNO", Verb::kDunno, ""},
    Word{"FILTER", Verb::kFilter, "filter"},
    Word{"HOLD", Verb::kHold, "hold"},
    Word{"IGNORE", Verb::kIgnore, ""},
    Word{"INFO", Verb::kInfo, "info"},
    Word{"OK", Verb::kDunno, ""},
    Word{"PASS", Verb::kPass, "pass"},
    Word{"PREPEND", Verb::kPrepend, "prepend"},
    Word{"REDIRECT", Verb::kRedirect, "redirect"},
    Word{"REJECT", Verb::kReject, "reject"},
    Word{"REPLACE", Verb::kReplace, "replace"},
    Word{"STRIP", Verb::kStrip, "strip"},
    Word{"WARN", Verb::kWarn, "warning"},
};

}  // namespace

CheckAction parse_check_action(std::string_view value) {
  value = trim_left(value);
  const std::size_t end = value.find_first_of(kBlanks);
  const std::string_view name = value.substr(0, end);
  CheckAction action;
  if (end != std::string_view::npos) action.text = trim(value.substr(end));
  const auto* const found = std::find_if(kWords.begin(), kWords.end(), [&](const Word& word) {
    return equal_nocase(word.name, name);
  });
  action.verb = found == kWords.end() ? Verb::kUnknown : found->verb;
  return action;
}

std::string_view log_word(Verb verb) {
  const auto* const found = std::find_if(kWords.begin(), kWords.end(),
                                         [&](const Word& word) { return word.verb == verb; });
  return found == kWords.end() ? std::string_view() : found->log_word;
}

}  // namespace postern::mail
