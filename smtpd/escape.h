// escape.h - bytes of a client in a log line, in C's notation: "EHLO x\r\n".

#pragma once

#include <string>
#include <string_view>

namespace postern::smtpd {

// At most `limit` bytes of `text` count.
[[nodiscard]] std::string escape_text(std::string_view text, std::size_t limit = 100);

}  // namespace postern::smtpd
