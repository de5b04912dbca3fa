#include "common/table/pattern_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::table {

namespace {

constexpr std::size_t kMaxGroup = 99;

// Takes the pattern, its delimiters and its flags off the front of `text`.
Result<void> take_delimited(std::string_view& text, PatternRule& rule) {
  const char delimiter = text.front();
  if (is_alnum(delimiter)) return fail(Error::Kind::kConfig, "ignoring unrecognized request");
  std::size_t end = 1;
  while (end < text.size() && text[end] != delimiter) end += text[end] == '\\' ? 2 : 1;
  if (end >= text.size()) {
    return skipped(fmt::format("no closing regexp delimiter \"{}\"", delimiter));
  }
  rule.pattern = text.substr(1, end - 1);
  text.remove_prefix(end + 1);
  const auto blank = std::min(text.find_first_of(kBlanks), text.size());
  rule.flags = text.substr(0, blank);
  text.remove_prefix(blank);
  return {};
}

Result<PatternRule> parse_rule(std::string_view text, PatternSyntax syntax) {
  PatternRule rule;
  // `if` stands before a blank or a pattern: a file of words may have a host called ifconfig.
  if (starts_with_nocase(text, "if") && (text.size() == 2 || !is_alnum(text[2]))) {
    rule.kind = PatternRule::Kind::kIf;
    text = trim_left(text.substr(2));
  }
  while (text.starts_with('!')) {
    rule.negated = !rule.negated;
    text = trim_left(text.substr(1));
  }
  if (text.empty()) {
    return skipped(syntax == PatternSyntax::kDelimited ? "no regexp" : "no address pattern");
  }
  if (syntax == PatternSyntax::kDelimited) {
    DO(take_delimited(text, rule));
  } else {
    rule.pattern = next_word(text, kBlanks);
  }
  rule.result = trim(text);
  if (syntax == PatternSyntax::kWord) {
    if (rule.kind == PatternRule::Kind::kIf && !rule.result.empty()) {
      return skipped(fmt::format("bad mask value in \"{} {}\"", rule.pattern, rule.result));
    }
    if (rule.kind != PatternRule::Kind::kIf && rule.result.empty()) {
      return skipped("no lookup result");
    }
  }
  return rule;
}

// Whether the line is an endif; of one with more behind it, what is wrong.
Result<bool> is_endif(std::string_view content, PatternSyntax syntax, bool is_open) {
  std::string_view rest = content;
  if (!equal_nocase(next_word(rest, kBlanks), "endif")) return false;
  if (syntax == PatternSyntax::kWord && !trim(rest).empty()) return skipped("garbage after ENDIF");
  if (is_open) return true;
  if (syntax == PatternSyntax::kWord) return skipped("ENDIF without IF");
  return fail(Error::Kind::kConfig, "ignoring ENDIF without matching IF");
}

}  // namespace

Result<Replacement> Replacement::parse(std::string_view text) {
  Replacement out;
  std::string plain;
  const auto end_plain = [&] {
    if (!plain.empty()) out.parts_.push_back({std::exchange(plain, {}), 0});
  };
  while (!text.empty()) {
    const auto dollar = text.find('$');
    plain += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar + 1);
    if (text.starts_with('$')) {
      plain += '$';
      text.remove_prefix(1);
      continue;
    }
    const char close = text.starts_with('{') ? '}' : text.starts_with('(') ? ')' : '\0';
    if (close != 0) text.remove_prefix(1);
    std::size_t length = 0;
    while (length < text.size() && is_digit(text[length])) ++length;
    std::size_t word = length;
    while (close == 0 && word < text.size() && (is_alnum(text[word]) || text[word] == '_')) ++word;
    if (word > length) {
      return skipped(fmt::format("non-numeric replacement index \"{}\"", text.substr(0, word)));
    }
    const auto group = parse_integer<std::size_t>(text.substr(0, length), 1, kMaxGroup);
    const bool closed = close == 0 || (length < text.size() && text[length] == close);
    if (!group || !closed) {
      return skipped("bad replacement syntax");
    }
    text.remove_prefix(length + (close != 0 ? 1 : 0));
    end_plain();
    out.parts_.push_back({{}, *group});
    out.highest_ = std::max(out.highest_, *group);
  }
  end_plain();
  return out;
}

std::string Replacement::expand(const std::function<std::string_view(std::size_t)>& group) const {
  std::string out;
  for (const auto& part : parts_) {
    if (part.group == 0) {
      out += part.text;
    } else {
      out += group(part.group);
    }
  }
  return out;
}

std::string at_line(std::string_view table, std::size_t line, std::string_view what) {
  const auto [type, path] = split_at_first(table, ':');
  return fmt::format("{} map {}, line {}: {}", type, path, line, what);
}

std::unexpected<Error> skipped(std::string_view what) {
  return fail(Error::Kind::kConfig, fmt::format("{}: skipping this rule", what));
}

Result<std::string> content_of(const std::string& result, const OpenOptions& options) {
  if (!options.values_are_files || result.empty()) return result;
  auto content = files_in_base64(result);
  if (!content) return skipped(content.error().text);
  return content;
}

Result<PatternFile> parse_pattern_file(std::string_view text, PatternSyntax syntax,
                                       BadRules bad_rules, std::string_view table) {
  PatternFile file;
  std::vector<std::size_t> open_ifs;
  const auto complain = [&](std::size_t line, std::string_view what) -> Result<void> {
    std::string full = at_line(table, line, what);
    if (bad_rules == BadRules::kFail) return fail(Error::Kind::kConfig, std::move(full));
    file.warnings.push_back(std::move(full));
    return {};
  };
  for (const auto& line : logical_lines(text)) {
    const std::string_view content = trim(line.text);
    const auto ends = is_endif(content, syntax, !open_ifs.empty());
    if (!ends) {
      DO(complain(line.number, ends.error().text));
      continue;
    }
    if (*ends) {
      file.rules[open_ifs.back()].end = file.rules.size();
      open_ifs.pop_back();
      continue;
    }
    auto rule = parse_rule(content, syntax);
    if (!rule) {
      DO(complain(line.number, rule.error().text));
      continue;
    }
    rule->line = line.number;
    if (rule->kind != PatternRule::Kind::kIf && rule->result.empty()) {
      file.warnings.push_back(
          at_line(table, line.number, "no replacement text: using empty string"));
    }
    if (rule->kind == PatternRule::Kind::kIf) {
      if (!rule->result.empty()) {
        file.warnings.push_back(
            at_line(table, line.number,
                    fmt::format("ignoring extra text after IF statement: \"{}\"", rule->result)));
        rule->result.clear();
      }
      open_ifs.push_back(file.rules.size());
    }
    file.rules.push_back(*std::move(rule));
  }
  for (const std::size_t index : open_ifs) {
    DO(complain(file.rules[index].line, "IF has no matching ENDIF"));
    file.rules[index].end = file.rules.size();
  }
  return file;
}

Result<std::optional<std::size_t>> first_match(
    const std::vector<PatternRule>& rules,
    const std::function<Result<bool>(std::size_t)>& matches) {
  for (std::size_t i = 0; i < rules.size();) {
    const PatternRule& rule = rules[i];
    TRY(const bool matched, matches(i));
    const bool holds = matched != rule.negated;
    if (rule.kind == PatternRule::Kind::kIf) {
      i = holds ? i + 1 : rule.end;
    } else if (holds) {
      return i;
    } else {
      ++i;
    }
  }
  return std::nullopt;
}

}  // namespace postern::table
