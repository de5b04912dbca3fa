// escape.h - the escapes of C in settings: lists of characters, the line end of pipe(8).

#pragma once

#include <string>
#include <string_view>

namespace postern {

// "\t\40x" to the characters: \a \b \f \n \r \t \v, \ and up to three octal digits; a backslash
// before anything else stands for that.
[[nodiscard]] std::string unescape_characters(std::string_view text);

}  // namespace postern
