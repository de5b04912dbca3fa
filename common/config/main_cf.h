// main_cf.h - the syntax of main.cf(5), and the logical lines it shares with master.cf(5).
//
// A logical line starts with a line that begins with text and goes on with all lines that begin
// with white space. Lines that are empty or whose first text is `#` are skipped, also between the
// lines of one logical line. Each continuation is joined with one blank.
//
//     name = value          the last one of a name counts
//
// parse_ functions take any bytes: what is wrong becomes a Problem and the next logical line is
// read as if nothing had happened.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.h"
#include "common/config/problem.h"

namespace postern::config {

// A larger main.cf or master.cf is refused: it is a wrong file.
inline constexpr std::size_t kMaxConfigFile = std::size_t{8} << 20;

// Of a line without meaning, in a complaint.
inline constexpr std::size_t kMostShown = 60;

struct LogicalLine {
  std::string text;    // comments and line breaks removed, trimmed at the end
  unsigned first = 0;  // line number of its first line
  unsigned last = 0;   // of its last line with text
};

[[nodiscard]] std::vector<LogicalLine> split_logical_lines(std::string_view text);

struct Setting {
  std::string name;
  std::string value;  // as written, trimmed, not expanded
  std::string file;
  unsigned line = 0;
};

struct MainCf {
  std::vector<Setting> settings;  // in file order; each name once, with its last value
  Problems problems;
};

[[nodiscard]] MainCf parse_main_cf(std::string_view text, std::string_view file);

// `name = value` as in main.cf and behind -o and -e; the text says what is wrong.
[[nodiscard]] Result<std::pair<std::string, std::string>> parse_setting(std::string_view text);

// Whether it can be a parameter's name: letters, digits and `_ - .`, nothing else.
[[nodiscard]] bool is_parameter_name(std::string_view name);

}  // namespace postern::config
