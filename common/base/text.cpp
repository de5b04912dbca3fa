#include "common/base/text.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace postern {

namespace {

// Whether `c` is in the set that starts behind `[` at `at`; moves `at` behind the `]`.
// A set that is never closed matches nothing.
bool match_set(std::string_view pattern, std::size_t& at, char c) {
  bool negated = false;
  if (at < pattern.size() && (pattern[at] == '!' || pattern[at] == '^')) {
    negated = true;
    ++at;
  }
  bool found = false;
  const auto code = static_cast<unsigned char>(c);
  for (bool first = true; at < pattern.size(); first = false) {
    if (pattern[at] == ']' && !first) {
      ++at;
      return found != negated;
    }
    const auto low = static_cast<unsigned char>(pattern[at]);
    if (at + 2 < pattern.size() && pattern[at + 1] == '-' && pattern[at + 2] != ']') {
      const auto high = static_cast<unsigned char>(pattern[at + 2]);
      found = found || (low <= code && code <= high);
      at += 3;
    } else {
      found = found || low == code;
      ++at;
    }
  }
  return false;
}

template <typename Part>
std::string join_parts(const std::vector<Part>& parts, std::string_view between) {
  std::string out;
  for (const auto& part : parts) {
    if (&part != &parts.front()) out += between;
    out += part;
  }
  return out;
}

}  // namespace

std::string to_lower(std::string_view text) {
  std::string out(text);
  make_lower(out);
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = to_upper(c);
  return out;
}

void make_lower(std::string& text) {
  for (char& c : text) c = to_lower(c);
}

std::string_view trim_left(std::string_view text, std::string_view what) {
  const auto start = text.find_first_not_of(what);
  return start == std::string_view::npos ? text.substr(text.size()) : text.substr(start);
}

std::string_view trim_right(std::string_view text, std::string_view what) {
  const auto last = text.find_last_not_of(what);
  return last == std::string_view::npos ? text.substr(0, 0) : text.substr(0, last + 1);
}

std::string_view trim(std::string_view text, std::string_view what) {
  return trim_right(trim_left(text, what), what);
}

bool equal_nocase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}

bool starts_with_nocase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && equal_nocase(text.substr(0, prefix.size()), prefix);
}

bool ends_with_nocase(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() &&
         equal_nocase(text.substr(text.size() - suffix.size()), suffix);
}

int compare_nocase(std::string_view a, std::string_view b) {
  const std::size_t common = a.size() < b.size() ? a.size() : b.size();
  for (std::size_t i = 0; i < common; ++i) {
    const auto x = static_cast<unsigned char>(to_lower(a[i]));
    const auto y = static_cast<unsigned char>(to_lower(b[i]));
    if (x != y) return x < y ? -1 : 1;
  }
  if (a.size() == b.size()) return 0;
  return a.size() < b.size() ? -1 : 1;
}

std::string_view next_word(std::string_view& text, std::string_view separators) {
  text = trim_left(text, separators);
  const auto end = std::min(text.find_first_of(separators), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

std::vector<std::string_view> split_words(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> words;
  for (auto word = next_word(text, separators); !word.empty(); word = next_word(text, separators)) {
    words.push_back(word);
  }
  return words;
}

std::vector<std::string_view> split_fields(std::string_view text, char separator) {
  std::vector<std::string_view> fields;
  for (;;) {
    const auto end = text.find(separator);
    fields.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return fields;
    text.remove_prefix(end + 1);
  }
}

std::pair<std::string_view, std::string_view> split_at_first(std::string_view text,
                                                             char separator) {
  const auto at = text.find(separator);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

std::pair<std::string_view, std::string_view> split_at_last(std::string_view text, char separator) {
  const auto at = text.rfind(separator);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

std::string_view next_word_braced(std::string_view& text, std::string_view separators) {
  text = trim_left(text, separators);
  std::size_t depth = 0;
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    const char c = text[end];
    if (c == '{') {
      ++depth;
    } else if (c == '}') {
      if (depth > 0) --depth;
    } else if (depth == 0 && separators.find(c) != std::string_view::npos) {
      break;
    }
  }
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

std::vector<std::string_view> split_words_braced(std::string_view text,
                                                 std::string_view separators) {
  std::vector<std::string_view> words;
  for (auto word = next_word_braced(text, separators); !word.empty();
       word = next_word_braced(text, separators)) {
    words.push_back(word);
  }
  return words;
}

bool glob_match(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;  // pattern position behind the last star
  std::size_t star_text = 0;                  // where that star's match ends at present
  while (t < text.size()) {
    bool matched = false;
    std::size_t next = p;
    if (p < pattern.size()) {
      switch (pattern[p]) {
        case '*':
          star = p + 1;
          star_text = t;
          p = star;
          continue;
        case '?':
          matched = true;
          next = p + 1;
          break;
        case '[':
          next = p + 1;
          matched = match_set(pattern, next, text[t]);
          break;
        case '\\':
          if (p + 1 < pattern.size()) next = p + 1;
          [[fallthrough]];
        default:
          matched = pattern[next] == text[t];
          ++next;
      }
    }
    if (matched) {
      p = next;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string join(const std::vector<std::string>& parts, std::string_view between) {
  return join_parts(parts, between);
}

std::string join(const std::vector<std::string_view>& parts, std::string_view between) {
  return join_parts(parts, between);
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  if (from.empty()) return std::string(text);
  for (;;) {
    const auto at = text.find(from);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += to;
    text.remove_prefix(at + from.size());
  }
}

bool is_valid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      ++i;
      continue;
    }
    std::size_t more = 0;
    std::uint32_t code = 0;
    std::uint32_t least = 0;
    if ((byte & 0xe0U) == 0xc0) {
      more = 1;
      code = byte & 0x1fU;
      least = 0x80;
    } else if ((byte & 0xf0U) == 0xe0) {
      more = 2;
      code = byte & 0x0fU;
      least = 0x800;
    } else if ((byte & 0xf8U) == 0xf0) {
      more = 3;
      code = byte & 0x07U;
      least = 0x10000;
    } else {
      return false;
    }
    if (text.size() - i <= more) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0U) != 0x80) return false;
      code = (code << 6U) | (next & 0x3fU);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    if (code < least || code > 0x10ffff || surrogate) return false;
    i += more + 1;
  }
  return true;
}

bool is_all_ascii(std::string_view text) {
  // Eight bytes at a time: this runs over every body.
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  while (text.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), sizeof word);
    if ((word & kHighBits) != 0) return false;
    text.remove_prefix(sizeof word);
  }
  for (const char c : text) {
    if (!is_ascii(c)) return false;
  }
  return true;
}

bool is_all_digits(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!is_digit(c)) return false;
  }
  return true;
}

}  // namespace postern
