// config_edit.h - changes main.cf and master.cf in place: comments, order, owner and mode stay.

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/master_cf.h"

namespace postern::control {

// What becomes of one logical line.
struct Verdict {
  enum class Change : unsigned char { kKeep, kReplace, kRemove, kComment };
  Change change = Change::kKeep;
  std::string text;  // kReplace: the new lines, without the last line break
};

// Where comments and empty lines come that stood between the lines of one that is replaced.
enum class InnerComments : unsigned char { kBehind, kBefore };

// The text with each logical line as `judge` wants it. Comments and empty lines stay.
[[nodiscard]] std::string rewrite_lines(
    std::string_view text, InnerComments comments,
    const std::function<Verdict(std::string_view logical)>& judge);

struct MainEdit {
  enum class Kind : unsigned char { kSet, kComment, kRemove };
  Kind kind = Kind::kSet;
  std::string name;
  std::string value;  // kSet
};

// A name that is set stays in its place, in each where there are several: those are put into
// `repeated`. One that is new goes to the end.
[[nodiscard]] std::string edit_main_cf(std::string_view text, const std::vector<MainEdit>& edits,
                                       std::vector<std::string>* repeated = nullptr);

// The text with each service as `judge` wants it; malformed entries stay as they are.
[[nodiscard]] std::string edit_master_cf(
    std::string_view text, const std::function<Verdict(const config::Service& service)>& judge);

// Replaces the file by what `change` makes of its text: a temporary file beside it, flushed, then
// a rename, so that a reader sees the old or the new file and a crash loses neither. Editors of the
// same directory wait for each other. A symbolic link is followed, not replaced.
[[nodiscard]] Result<void> edit_file(
    const std::string& path,
    const std::function<Result<std::string>(std::string_view text)>& change);

}  // namespace postern::control
