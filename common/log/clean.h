// clean.h - bytes from outside, made fit for a log line or a reply: printable, bounded, one line.

#pragma once

#include <string>
#include <string_view>

namespace postern::log {

// Control characters and bytes that are no UTF-8 become '?'; at most `limit` bytes are kept.
[[nodiscard]] std::string clean(std::string_view text, std::size_t limit = 500);

// A text as the value of a JSON member, quotes included.
[[nodiscard]] std::string json_quote(std::string_view text);

}  // namespace postern::log
