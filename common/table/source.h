// source.h - the text that tables are made of: logical lines, and the two forms of records.
//
// A logical line starts in the first column; lines below that start with a blank go on with it, the
// line end taken out and the blanks kept. Lines that are empty or whose first other character is
// `#` are passed over, also in the middle of a logical line.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::table {

struct LogicalLine {
  std::string text;
  std::size_t number = 0;  // of its first line, from 1
};
[[nodiscard]] std::vector<LogicalLine> logical_lines(std::string_view text);

// The same one after the other, without a copy of each: tables of millions of lines.
class LogicalLineWalker {
 public:
  struct View {
    std::string_view text;  // valid until the next call
    std::size_t number = 0;
  };
  explicit LogicalLineWalker(std::string_view text) : rest_(text) {}
  [[nodiscard]] std::optional<View> next();

 private:
  // The next physical line that is neither empty nor a comment; nothing at the end.
  [[nodiscard]] std::optional<View> next_physical();

  std::string_view rest_;
  std::size_t number_ = 0;
  std::optional<View> ahead_;
  std::string joined_;
};

// The whole of a text file, up to `max_size`.
[[nodiscard]] Result<std::string> read_text_file(const std::string& path, std::size_t max_size);

// What is in the files that a value names, one after the other with a line end in between, in
// base64.
[[nodiscard]] Result<std::string> files_in_base64(std::string_view value);

// The rules of a table of patterns: a file, or `{ {rule} {rule} }` in the name itself.
[[nodiscard]] Result<std::string> read_rules(const std::string& name, std::size_t max_size);

struct RecordView {
  std::string_view key;
  std::string_view value;
  std::size_t line = 0;
};

enum class SourceFormat : unsigned char {
  kPlain,    // key whitespace value, as postmap reads; quotes of the key stay
  kAliases,  // key: value, as in aliases(5); quotes of the key go
};

struct SourceRules {
  SourceFormat format = SourceFormat::kPlain;
  bool utf8 = true;  // a line that is none is left out
};

// Calls `take` with each record, whose views are good until it returns, and `warn` with each
// complaint, in the order of the file. `path` is for the warnings.
void walk_source(std::string_view text, const SourceRules& rules, std::string_view path,
                 const std::function<void(const RecordView&)>& take,
                 const std::function<void(std::string)>& warn);

// `{ a = b }` or `a=b`: a name and a value around the first `=`, blanks around both gone.
struct Assignment {
  std::string_view name;
  std::string_view value;
};
[[nodiscard]] std::optional<Assignment> parse_assignment(std::string_view text);

// The text inside the outer braces, trimmed; nullopt where it has none.
[[nodiscard]] std::optional<std::string_view> inside_braces(std::string_view text);

}  // namespace postern::table
