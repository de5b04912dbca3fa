// mime.h - what the rest of the suite must know of MIME so far: whether content is 8-bit.

#pragma once

#include <string_view>

namespace postern::mail {

// Whether some byte of a body's chunk is above 127: such a message needs 8BITMIME or a conversion.
[[nodiscard]] bool is_8bit(std::string_view chunk);

}  // namespace postern::mail
