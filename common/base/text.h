// text.h - trim, split, compare and match plain text.
//
// Case means ASCII case, whatever the locale: mail's keywords, header names and domains are ASCII,
// and bytes above 127 (UTF-8) pass unchanged. No function here allocates unless it returns a
// string.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postern {

inline constexpr std::string_view kBlanks = " \t\r\n\v\f";  // isspace(3) in the C locale
inline constexpr std::string_view kMainCfSeparators = ", \t\r\n";

[[nodiscard]] constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
[[nodiscard]] constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
[[nodiscard]] constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
[[nodiscard]] constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
[[nodiscard]] constexpr bool is_alpha(char c) { return is_upper(c) || is_lower(c); }
[[nodiscard]] constexpr bool is_alnum(char c) { return is_alpha(c) || is_digit(c); }
[[nodiscard]] constexpr bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
[[nodiscard]] constexpr bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
[[nodiscard]] constexpr bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }

[[nodiscard]] constexpr char to_lower(char c) {
  return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}
[[nodiscard]] constexpr char to_upper(char c) {
  return is_lower(c) ? static_cast<char>(c - 'a' + 'A') : c;
}
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string to_upper(std::string_view text);
void make_lower(std::string& text);

[[nodiscard]] std::string_view trim_left(std::string_view text, std::string_view what = kBlanks);
[[nodiscard]] std::string_view trim_right(std::string_view text, std::string_view what = kBlanks);
[[nodiscard]] std::string_view trim(std::string_view text, std::string_view what = kBlanks);

// Without regard to ASCII case.
[[nodiscard]] bool equal_nocase(std::string_view a, std::string_view b);
[[nodiscard]] bool starts_with_nocase(std::string_view text, std::string_view prefix);
[[nodiscard]] bool ends_with_nocase(std::string_view text, std::string_view suffix);
[[nodiscard]] int compare_nocase(std::string_view a, std::string_view b);

// An order for maps whose keys are the same in any case.
struct LessNocase {
  using is_transparent = void;
  [[nodiscard]] bool operator()(std::string_view a, std::string_view b) const {
    return compare_nocase(a, b) < 0;
  }
};

// The words between runs of `separators`; never an empty one. Views into `text`.
[[nodiscard]] std::vector<std::string_view> split_words(
    std::string_view text, std::string_view separators = kMainCfSeparators);

// The fields between single separators, empty ones too. Views into `text`.
[[nodiscard]] std::vector<std::string_view> split_fields(std::string_view text, char separator);

// Takes the next word off the front of `text`; an empty view when there is none left.
[[nodiscard]] std::string_view next_word(std::string_view& text,
                                         std::string_view separators = kMainCfSeparators);

// What stands before and behind the first (last) `separator`; second is empty where it is missing.
[[nodiscard]] std::pair<std::string_view, std::string_view> split_at_first(std::string_view text,
                                                                           char separator);
[[nodiscard]] std::pair<std::string_view, std::string_view> split_at_last(std::string_view text,
                                                                          char separator);

// The words as split_words gives them, but `{ ... }` holds one word together, braces kept, nested
// braces counted. An open brace that is never closed takes the rest.
[[nodiscard]] std::vector<std::string_view> split_words_braced(
    std::string_view text, std::string_view separators = kMainCfSeparators);
[[nodiscard]] std::string_view next_word_braced(std::string_view& text,
                                                std::string_view separators = kMainCfSeparators);

// `* ? [set]` as in a shell, `\` quotes. Linear in the text for each star: no backtracking storm.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text);

[[nodiscard]] std::string join(const std::vector<std::string>& parts, std::string_view between);
[[nodiscard]] std::string join(const std::vector<std::string_view>& parts,
                               std::string_view between);

[[nodiscard]] std::string replace_all(std::string_view text, std::string_view from,
                                      std::string_view to);

// Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
[[nodiscard]] bool is_valid_utf8(std::string_view text);
[[nodiscard]] bool is_all_ascii(std::string_view text);
[[nodiscard]] bool is_all_digits(std::string_view text);  // and not empty

}  // namespace postern
