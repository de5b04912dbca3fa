#include "common/mail/encoded_word.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"

namespace postern::mail {

namespace {

constexpr std::size_t kMaxWord = 75;
// A charset of nobody's must not leave a word without room.
constexpr std::size_t kLeastRoom = 12;

// RFC 2047 5 (3): what may stand in a phrase as it is.
bool is_plain(char c) {
  return is_alnum(c) || std::string_view("!*+-/").find(c) != std::string_view::npos;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

}  // namespace

std::string encode_words(std::string_view text, std::string_view charset) {
  const std::string begin = fmt::format("=?{}?Q?", charset);
  const std::size_t around = begin.size() + 2;
  const std::size_t room = kMaxWord > around + kLeastRoom ? kMaxWord - around : kLeastRoom;
  const bool is_utf8 = equal_nocase(charset, "utf-8");
  std::string out;
  std::string word;
  while (!text.empty()) {
    std::size_t size = 1;
    while (is_utf8 && size < text.size() && size < 4 && is_continuation(text[size])) ++size;
    std::string character;
    for (const char c : text.substr(0, size)) {
      if (c == ' ') {
        character += '_';
      } else if (is_plain(c)) {
        character += c;
      } else {
        character += fmt::format("={:02X}", static_cast<unsigned char>(c));
      }
    }
    text.remove_prefix(size);
    if (word.size() + character.size() > room) {
      out += begin + word + "?= ";
      word.clear();
    }
    word += character;
  }
  return word.empty() ? out : out + begin + word + "?=";
}

}  // namespace postern::mail
