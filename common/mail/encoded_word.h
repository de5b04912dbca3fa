// encoded_word.h - text beyond ASCII in header fields: RFC 2047.

#pragma once

#include <string>
#include <string_view>

namespace postern::mail {

// Encoded words (form Q) that may stand in a phrase or a comment, with blanks between them, each of
// up to 75 characters. With the charset utf-8 no character is parted.
[[nodiscard]] std::string encode_words(std::string_view text, std::string_view charset);

}  // namespace postern::mail
