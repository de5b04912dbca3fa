#include "common/base/encode.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "common/base/text.h"

namespace postern {

namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kHexLower = "0123456789abcdef";
constexpr std::string_view kHexUpper = "0123456789ABCDEF";
constexpr std::uint8_t kNoDigit = 0xff;
constexpr std::size_t kQuotedPrintableWidth = 76;

constexpr std::array<std::uint8_t, 256> make_base64_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (std::size_t i = 0; i < kBase64.size(); ++i) {
    values[static_cast<unsigned char>(kBase64[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}

constexpr auto kBase64Values = make_base64_values();

void append_hex_byte(std::string& out, unsigned char byte, std::string_view digits) {
  out += digits[byte >> 4U];
  out += digits[byte & 0x0fU];
}

bool is_xtext_plain(char c) { return c > ' ' && c < 0x7f && c != '+' && c != '='; }

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8U) | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    out += kBase64[(group >> 18U) & 63U];
    out += kBase64[(group >> 12U) & 63U];
    out += count > 1 ? kBase64[(group >> 6U) & 63U] : '=';
    out += count > 2 ? kBase64[group & 63U] : '=';
  }
  return out;
}

std::string base64_encode_lines(std::string_view bytes, std::size_t width,
                                std::string_view newline) {
  const std::string flat = base64_encode(bytes);
  std::string out;
  for (std::size_t i = 0; i < flat.size(); i += width) {
    out.append(flat, i, width);
    out += newline;
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const std::string_view digits = text.substr(0, text.size() - padding);

  std::string out;
  out.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : digits) {
    const std::uint8_t value = kBase64Values[static_cast<unsigned char>(c)];
    if (value == kNoDigit) return std::nullopt;
    bits = (bits << 6U) | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> count) & 0xffU);
    }
  }
  // Bits left over must be zero, or two encodings would mean the same bytes.
  if ((bits & ((1U << count) - 1)) != 0) return std::nullopt;
  return out;
}

std::optional<std::string> base64_decode_folded(std::string_view text) {
  std::string flat;
  flat.reserve(text.size());
  for (const char c : text) {
    if (!is_space(c)) flat += c;
  }
  return base64_decode(flat);
}

std::string hex_encode(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) append_hex_byte(out, static_cast<unsigned char>(c), kHexLower);
  return out;
}

std::optional<unsigned> hex_digit(char c) {
  if (is_digit(c)) return static_cast<unsigned>(c - '0');
  const char lower = to_lower(c);
  if (lower >= 'a' && lower <= 'f') return static_cast<unsigned>(lower - 'a' + 10);
  return std::nullopt;
}

std::optional<std::string> hex_decode(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto high = hex_digit(text[i]);
    const auto low = hex_digit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    out += static_cast<char>(*high << 4U | *low);
  }
  return out;
}

std::string xtext_encode(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (const char c : bytes) {
    if (is_xtext_plain(c)) {
      out += c;
    } else {
      out += '+';
      append_hex_byte(out, static_cast<unsigned char>(c), kHexUpper);
    }
  }
  return out;
}

std::string xtext_encode_utf8(std::string_view bytes) {
  if (!is_valid_utf8(bytes)) return xtext_encode(bytes);
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[i]);
    const std::size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size == 1 && is_xtext_plain(bytes[i]) && bytes[i] != '\\') {
      out += bytes[i++];
      continue;
    }
    // The lead byte has 7, 5, 4 or 3 bits of the character, each of the others 6.
    std::uint32_t character = size == 1 ? first : first & (0x7fU >> size);
    for (std::size_t k = 1; k < size; ++k) {
      character = character << 6U | (static_cast<unsigned char>(bytes[i + k]) & 0x3fU);
    }
    out += fmt::format("\\x{{{:X}}}", character);
    i += size;
  }
  return out;
}

std::optional<std::string> xtext_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '+') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out += static_cast<char>(*high << 4U | *low);
    i += 2;
  }
  return out;
}

void QuotedPrintableEncoder::put(std::string_view unit, std::string& out) {
  // One column stays free for the `=` of a soft break.
  if (column_ + unit.size() > kQuotedPrintableWidth - 1) {
    out += "=\n";
    column_ = 0;
  }
  out += unit;
  column_ += unit.size();
}

void QuotedPrintableEncoder::append(std::string_view chunk, std::string& out) {
  for (const char c : chunk) {
    if (held_ != 0) {
      const char blank = held_;
      held_ = 0;
      if (c == '\n') {
        put(blank == ' ' ? "=20" : "=09", out);
      } else {
        put(std::string_view(&blank, 1), out);
      }
    }
    if (c == '\n') {
      out += '\n';
      column_ = 0;
    } else if (c == ' ' || c == '\t') {
      held_ = c;
    } else if (c == '=' || !is_printable(c)) {
      std::string unit = "=";
      append_hex_byte(unit, static_cast<unsigned char>(c), kHexUpper);
      put(unit, out);
    } else {
      put(std::string_view(&c, 1), out);
    }
  }
}

void QuotedPrintableEncoder::finish(std::string& out) {
  if (held_ != 0) put(held_ == ' ' ? "=20" : "=09", out);
  held_ = 0;
  column_ = 0;
}

std::string quoted_printable_encode(std::string_view text) {
  std::string out;
  QuotedPrintableEncoder encoder;
  encoder.append(text, out);
  encoder.finish(out);
  return out;
}

std::string quoted_printable_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    const bool ended = end != std::string_view::npos;
    text.remove_prefix(ended ? end + 1 : text.size());
    line = trim_right(line, " \t\r");
    const bool soft = !line.empty() && line.back() == '=';
    if (soft) line.remove_suffix(1);
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '=' && line.size() - i > 2) {
        const auto high = hex_digit(line[i + 1]);
        const auto low = hex_digit(line[i + 2]);
        if (high && low) {
          out += static_cast<char>(*high << 4U | *low);
          i += 2;
          continue;
        }
      }
      out += line[i];
    }
    if (ended && !soft) out += '\n';
  }
  return out;
}

}  // namespace postern
