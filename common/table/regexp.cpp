// regexp: tables, POSIX regular expressions through regex(3).
//
// regexec() has no limit on its work: whoever opens such a table for keys from outside must be
// ready to be killed, or run it where that does no harm (design: in a child of `tables`).

#include <fmt/format.h>
#include <regex.h>

#include <array>
#include <utility>

#include "common/table/pattern_file.h"
#include "common/table/table.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

class PosixRegex {
 public:
  // Flags toggle what is on by default: i (ignore case), x (extended syntax), m (multi-line).
  [[nodiscard]] static Result<PosixRegex> compile(const PatternRule& rule, bool need_groups) {
    int options = REG_EXTENDED | REG_ICASE;
    for (const char flag : rule.flags) {
      switch (flag) {
        case 'i':
          options ^= REG_ICASE;
          break;
        case 'm':
          options ^= REG_NEWLINE;
          break;
        case 'x':
          options ^= REG_EXTENDED;
          break;
        default:
          return skipped(fmt::format("unknown regexp option \"{}\"", flag));
      }
    }
    if (!need_groups) options |= REG_NOSUB;
    PosixRegex out;
    auto compiled = std::make_unique<regex_t>();
    const int status = ::regcomp(compiled.get(), rule.pattern.c_str(), options);
    if (status != 0) {
      std::array<char, 200> text{};
      ::regerror(status, compiled.get(), text.data(), text.size());
      return fail(Error::Kind::kConfig, text.data());
    }
    out.regex_.reset(compiled.release());
    return out;
  }

  [[nodiscard]] std::size_t group_count() const { return regex_->re_nsub; }

  // `groups` may be empty.
  [[nodiscard]] Result<bool> matches(const std::string& text,
                                     std::vector<regmatch_t>& groups) const {
    const int status = ::regexec(regex_.get(), text.c_str(), groups.size(), groups.data(), 0);
    if (status == 0) return true;
    if (status == REG_NOMATCH) return false;
    std::array<char, 200> reason{};
    ::regerror(status, regex_.get(), reason.data(), reason.size());
    return fail_temporary(reason.data());
  }

 private:
  struct Free {
    void operator()(regex_t* regex) const {
      ::regfree(regex);
      delete regex;
    }
  };
  std::unique_ptr<regex_t, Free> regex_;
};

class RegexpTable final : public Table {
 public:
  explicit RegexpTable(std::string_view name) : Table("regexp", name, false) {}

  Result<void> open(const std::string& path, const OpenOptions& options) {
    subject_limit_ = options.pattern_subject_limit;
    watch(path);
    auto text = read_rules(path, options.max_file_size);
    if (!text) return std::unexpected(std::move(text).error());
    TRY(auto file, parse_pattern_file(*text, PatternSyntax::kDelimited, options.bad_rules, name()));
    for (auto& warning : file.warnings) warn(std::move(warning));
    rules_ = std::move(file.rules);
    for (auto& rule : rules_) {
      if (auto done = add(rule, options); !done) {
        std::string what = at_line(name(), rule.line, done.error().text);
        if (options.bad_rules == BadRules::kFail) return fail(Error::Kind::kConfig, what);
        warn(std::move(what));
        compiled_.resize(compiled_.size() + 1);  // matches nothing
      }
    }
    return {};
  }

 private:
  struct Compiled {
    std::optional<PosixRegex> regex;
    Replacement result;
  };

  Result<void> add(const PatternRule& rule, const OpenOptions& options) {
    TRY(const std::string content, content_of(rule.result, options));
    TRY(auto result, Replacement::parse(content));
    if (options.no_substitution && result.highest_group() > 0) {
      return skipped("regular expression substitution is not allowed");
    }
    if (rule.negated && result.highest_group() > 0) {
      return skipped("$number found in negative match replacement text");
    }
    TRY(auto regex, PosixRegex::compile(rule, result.highest_group() > 0));
    if (result.highest_group() > 0 && result.highest_group() > regex.group_count()) {
      return skipped(fmt::format("out of range replacement index \"{}\"", result.highest_group()));
    }
    compiled_.push_back({std::move(regex), std::move(result)});
    return {};
  }

  Found do_find(std::string_view key) override {
    // regexec() would see only what is in front of a NUL and say "no match" for the rest.
    if (key.find('\0') != std::string_view::npos) return error("match", "NUL in the key");
    if (key.size() > subject_limit_) return error("match", "key too long");
    const std::string text(key);
    std::vector<regmatch_t> groups;
    const auto matches = [&](std::size_t i) -> Result<bool> {
      const Compiled& compiled = compiled_[i];
      // A rule that was skipped must not match when it is negated either.
      if (!compiled.regex) return rules_[i].negated;
      const std::size_t highest = compiled.result.highest_group();
      groups.assign(highest == 0 ? 0 : highest + 1, {});
      auto matched = compiled.regex->matches(text, groups);
      if (!matched) {
        return fail_temporary(
            fmt::format("match {}", at_line(name(), rules_[i].line, matched.error().text)));
      }
      return matched;
    };
    TRY(const auto hit, first_match(rules_, matches));
    if (!hit) return std::nullopt;
    return compiled_[*hit].result.expand([&](std::size_t n) {
      const regmatch_t& group = groups.at(n);
      if (group.rm_so < 0) return std::string_view();
      const auto start = static_cast<std::size_t>(group.rm_so);
      return std::string_view(text).substr(start, static_cast<std::size_t>(group.rm_eo) - start);
    });
  }

  std::vector<PatternRule> rules_;
  std::vector<Compiled> compiled_;  // one for each rule
  std::size_t subject_limit_ = 0;
};

}  // namespace

OpenedTable open_regexp(std::string_view name, const OpenOptions& options) {
  auto table = std::make_unique<RegexpTable>(name);
  DO(table->open(std::string(name), options));
  return table;
}

}  // namespace postern::table
