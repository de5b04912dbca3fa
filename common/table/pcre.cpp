// pcre: tables, Perl-compatible patterns through PCRE2 with its just-in-time compiler.
//
// Each match is bounded in steps and memory; past the bound the look-up is a temporary error with
// the line of the pattern, never "no match".

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <utility>

#include "common/base/text.h"
#include "common/table/pattern_file.h"
#include "common/table/table.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const { ::pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* data) const { ::pcre2_match_data_free(data); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { ::pcre2_match_context_free(context); }
};

using Code = std::unique_ptr<pcre2_code, FreeCode>;

std::string pcre_text(int status) {
  std::array<PCRE2_UCHAR, 256> text{};
  ::pcre2_get_error_message(status, text.data(), text.size());
  std::string out;
  for (const PCRE2_UCHAR c : text) {
    if (c == 0) break;
    out += static_cast<char>(c);
  }
  return out;
}

PCRE2_SPTR pcre_bytes(std::string_view text) {
  // PCRE2's character type is unsigned char; void* is the conversion without reinterpret_cast.
  return static_cast<PCRE2_SPTR>(static_cast<const void*>(text.data()));
}

// Flags toggle: i (on: ignore case), s (on: dot matches newline), m, x, A, E, U; X has no effect
// since PCRE2 always is as strict as it asked for.
Result<std::uint32_t> parse_flags(std::string_view flags, bool utf8) {
  std::uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL;
  if (utf8) options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
  for (const char flag : flags) {
    switch (flag) {
      case 'i':
        options ^= PCRE2_CASELESS;
        break;
      case 'm':
        options ^= PCRE2_MULTILINE;
        break;
      case 's':
        options ^= PCRE2_DOTALL;
        break;
      case 'x':
        options ^= PCRE2_EXTENDED;
        break;
      case 'A':
        options ^= PCRE2_ANCHORED;
        break;
      case 'E':
        options ^= PCRE2_DOLLAR_ENDONLY;
        break;
      case 'U':
        options ^= PCRE2_UNGREEDY;
        break;
      case 'X':
        break;
      default:
        return skipped(fmt::format("unknown regexp option \"{}\"", flag));
    }
  }
  return options;
}

class PcreTable final : public Table {
 public:
  explicit PcreTable(std::string_view name) : Table("pcre", name, false) {}

  Result<void> open(const std::string& path, const OpenOptions& options) {
    subject_limit_ = options.pattern_subject_limit;
    context_.reset(::pcre2_match_context_create(nullptr));
    if (!context_) return error("open", "out of memory");
    ::pcre2_set_match_limit(context_.get(), options.pcre_match_limit);
    ::pcre2_set_heap_limit(context_.get(), options.pcre_heap_limit_kib);

    watch(path);
    auto text = read_rules(path, options.max_file_size);
    if (!text) return std::unexpected(std::move(text).error());
    TRY(auto file, parse_pattern_file(*text, PatternSyntax::kDelimited, options.bad_rules, name()));
    for (auto& warning : file.warnings) warn(std::move(warning));
    rules_ = std::move(file.rules);
    std::uint32_t most_groups = 0;
    for (auto& rule : rules_) {
      if (rule.flags.find('X') != std::string::npos) {
        warn(at_line(name(), rule.line, "ignoring obsolete regexp option \"X\""));
      }
      auto compiled = compile(rule, options);
      if (compiled && options.no_substitution && compiled->result.highest_group() > 0) {
        compiled = skipped("regular expression substitution is not allowed");
      }
      if (!compiled) {
        std::string what = at_line(name(), rule.line, compiled.error().text);
        if (options.bad_rules == BadRules::kFail) return fail(Error::Kind::kConfig, what);
        warn(std::move(what));
        compiled_.emplace_back();
        continue;
      }
      most_groups = std::max(most_groups, compiled->groups);
      compiled_.push_back(*std::move(compiled));
    }
    match_.reset(::pcre2_match_data_create(most_groups + 1, nullptr));
    if (!match_) return error("open", "out of memory");
    return {};
  }

 private:
  struct Compiled {
    Code code;
    std::uint32_t groups = 0;
    Replacement result;
  };

  [[nodiscard]] static Result<Compiled> compile(const PatternRule& rule,
                                                const OpenOptions& open_options) {
    Compiled out;
    TRY(const std::string content, content_of(rule.result, open_options));
    TRY(out.result, Replacement::parse(content));
    if (rule.negated && out.result.highest_group() > 0) {
      return skipped("$number found in negative match replacement text");
    }
    const bool utf8 = open_options.utf8 && is_valid_utf8(rule.pattern);
    TRY(const auto options, parse_flags(rule.flags, utf8));
    int status = 0;
    PCRE2_SIZE offset = 0;
    out.code.reset(::pcre2_compile(pcre_bytes(rule.pattern), rule.pattern.size(), options, &status,
                                   &offset, nullptr));
    if (!out.code) {
      return fail(Error::Kind::kConfig,
                  fmt::format("error in regex at offset {}: {}", offset, pcre_text(status)));
    }
    // Without the JIT the interpreter serves; it is slower, not wrong.
    static_cast<void>(::pcre2_jit_compile(out.code.get(), PCRE2_JIT_COMPLETE));
    ::pcre2_pattern_info(out.code.get(), PCRE2_INFO_CAPTURECOUNT, &out.groups);
    if (out.result.highest_group() > out.groups) {
      return skipped(
          fmt::format("out of range replacement index \"{}\"", out.result.highest_group()));
    }
    return out;
  }

  Found do_find(std::string_view key) override {
    if (key.size() > subject_limit_) return error("match", "key too long");
    const auto matches = [&](std::size_t i) -> Result<bool> {
      const Compiled& compiled = compiled_[i];
      if (!compiled.code) return rules_[i].negated;  // skipped: matches in neither sense
      const int status = ::pcre2_match(compiled.code.get(), pcre_bytes(key), key.size(), 0, 0,
                                       match_.get(), context_.get());
      if (status >= 0) return true;
      if (status == PCRE2_ERROR_NOMATCH) return false;
      return fail_temporary(
          fmt::format("match {}", at_line(name(), rules_[i].line, pcre_text(status))));
    };
    TRY(const auto hit, first_match(rules_, matches));
    if (!hit) return std::nullopt;
    const PCRE2_SIZE* const offsets = ::pcre2_get_ovector_pointer(match_.get());
    return compiled_[*hit].result.expand([&](std::size_t n) {
      const PCRE2_SIZE start = offsets[2 * n];
      const PCRE2_SIZE end = offsets[2 * n + 1];
      // A group that took no part; or \K moved the start behind the end.
      if (start == PCRE2_UNSET || end < start) return std::string_view();
      return key.substr(start, end - start);
    });
  }

  std::vector<PatternRule> rules_;
  std::vector<Compiled> compiled_;  // one for each rule
  std::unique_ptr<pcre2_match_context, FreeContext> context_;
  std::unique_ptr<pcre2_match_data, FreeMatch> match_;
  std::size_t subject_limit_ = 0;
};

}  // namespace

OpenedTable open_pcre(std::string_view name, const OpenOptions& options) {
  auto table = std::make_unique<PcreTable>(name);
  DO(table->open(std::string(name), options));
  return table;
}

}  // namespace postern::table
