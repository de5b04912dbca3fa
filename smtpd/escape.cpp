#include "smtpd/escape.h"

#include <fmt/format.h>

namespace postern::smtpd {

std::string escape_text(std::string_view text, std::size_t limit) {
  constexpr std::string_view kNamed = "\a\b\f\n\r\t\v\\";
  constexpr std::string_view kLetters = "abfnrtv\\";
  std::string out;
  for (const char c : text.substr(0, limit)) {
    if (const auto at = kNamed.find(c); at != std::string_view::npos) {
      out += '\\';
      out += kLetters[at];
    } else if (c >= ' ' && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace postern::smtpd
