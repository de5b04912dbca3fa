// encode.h - base64, hexadecimal, quoted-printable and xtext, in memory.
//
// Decoders refuse what their specification refuses and return nullopt; none stops half-way.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace postern {

// RFC 4648 section 4, padded, without line breaks.
[[nodiscard]] std::string base64_encode(std::string_view bytes);

// Lines of `width` characters, each ended by `newline`, as MIME bodies and PEM want them.
[[nodiscard]] std::string base64_encode_lines(std::string_view bytes, std::size_t width = 76,
                                              std::string_view newline = "\n");

// Strict: right padding, no foreign character, no stray bits. AUTH and DKIM take this form.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

// The same with white space anywhere, as in a header or a DNS record (DKIM b=, p=).
[[nodiscard]] std::optional<std::string> base64_decode_folded(std::string_view text);

[[nodiscard]] std::string hex_encode(std::string_view bytes);  // lower case
[[nodiscard]] std::optional<std::string> hex_decode(std::string_view text);
[[nodiscard]] std::optional<unsigned> hex_digit(char c);

// xtext of RFC 3461 section 4: +XX for what is not printable, for `+` and for `=`.
[[nodiscard]] std::string xtext_encode(std::string_view bytes);
[[nodiscard]] std::optional<std::string> xtext_decode(std::string_view text);

// The form of UTF-8 in ASCII that goes everywhere (RFC 6533 utf-8-addr-xtext): \x{HEX} for each
// character that is not ASCII, and for `+`, `=`, `\` and blanks. Other bytes: as xtext_encode.
[[nodiscard]] std::string xtext_encode_utf8(std::string_view bytes);

// Quoted-printable of RFC 2045 6.7, in lines of at most 76 characters. Text whose lines end in LF;
// the output's too. Feed any chunks, then finish(): a run of blanks and a line's length cross
// chunks.
class QuotedPrintableEncoder {
 public:
  void append(std::string_view chunk, std::string& out);
  void finish(std::string& out);

 private:
  void put(std::string_view unit, std::string& out);

  std::size_t column_ = 0;
  char held_ = 0;  // a blank that is encoded only if the line ends behind it
};

[[nodiscard]] std::string quoted_printable_encode(std::string_view text);

// Lenient, as RFC 2045 asks of decoders: `=` before what is no hex pair stays as it is.
[[nodiscard]] std::string quoted_printable_decode(std::string_view text);

}  // namespace postern
