#include "common/base/escape.h"

namespace postern {

std::string unescape_characters(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    constexpr std::string_view kNames = "abfnrtv";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v";
    if (const auto at = kNames.find(c); at != std::string_view::npos) {
      out += kValues[at];
    } else if (c >= '0' && c <= '7') {
      unsigned value = 0;
      for (unsigned n = 0; n < 3 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++n) {
        value = value * 8 + static_cast<unsigned>(text[i++] - '0');
      }
      --i;
      out += static_cast<char>(value & 0xffU);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace postern
