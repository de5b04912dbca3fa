// pattern_file.h - what regexp:, pcre: and cidr: files have in common: rules, if/endif, $ in
// results.
//
//     /pattern/flags result      !/pattern/flags result      if /pattern/flags      endif
//
// Rules are tried in order, the first match wins. A block between if and endif is looked at only
// where the condition holds; blocks nest.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/table/source.h"
#include "common/table/table.h"

namespace postern::table {

// A result text, cut at its $ expressions: `$1`, `${1}`, `$(1)`; `$$` is one dollar sign.
class Replacement {
 public:
  [[nodiscard]] static Result<Replacement> parse(std::string_view text);

  [[nodiscard]] std::size_t highest_group() const { return highest_; }
  // `group(n)` is the text of the n-th group, empty where it took no part.
  [[nodiscard]] std::string expand(const std::function<std::string_view(std::size_t)>& group) const;

 private:
  struct Part {
    std::string text;
    std::size_t group = 0;  // 0: the text
  };
  std::vector<Part> parts_;
  std::size_t highest_ = 0;
};

struct PatternRule {
  enum class Kind : unsigned char { kRule, kIf };
  Kind kind = Kind::kRule;
  bool negated = false;
  std::size_t line = 0;
  std::size_t end = 0;  // of an if: index of the first rule behind its endif
  std::string pattern;  // between the delimiters; the network of a cidr rule
  std::string flags;
  std::string result;
};

struct PatternFile {
  std::vector<PatternRule> rules;
  std::vector<std::string> warnings;
};

enum class PatternSyntax : unsigned char { kDelimited, kWord };

// Reads the rules of a file. What is wrong is an error or a warning, as `bad_rules` says, always
// with file and line; an if that is never closed covers the rest of the file.
[[nodiscard]] Result<PatternFile> parse_pattern_file(std::string_view text, PatternSyntax syntax,
                                                     BadRules bad_rules, std::string_view table);

// "type map /path, line 3: what", of the table "type:/path".
[[nodiscard]] std::string at_line(std::string_view table, std::size_t line, std::string_view what);

// What is wrong with a rule that is left out.
[[nodiscard]] std::unexpected<Error> skipped(std::string_view what);

// The text of a rule; where values are files' names, what is in these, in base64.
[[nodiscard]] Result<std::string> content_of(const std::string& result, const OpenOptions& options);

// The index of the first rule that `matches`, conditions obeyed; nullopt where none does.
// matches(i) is asked for conditions and for rules, negation not applied.
[[nodiscard]] Result<std::optional<std::size_t>> first_match(
    const std::vector<PatternRule>& rules, const std::function<Result<bool>(std::size_t)>& matches);

}  // namespace postern::table
