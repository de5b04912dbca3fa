// drop_stream.h - how sendmail hands a message to postdrop, over a pipe.
//
//     stream := frame(envelope run)  frame(content)...  frame(nothing)
//     frame  := length (4 bytes, little end first)  bytes
//
// The empty frame at the end tells a finished message from a sendmail that was killed. postdrop
// trusts none of it: lengths are bounded and the envelope is read like any bytes from outside.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::queuefile {

inline constexpr std::uint32_t kMaxDropFrame = std::uint32_t{8} << 20;

// Blocks until all is written.
[[nodiscard]] Result<void> write_drop_frame(int fd, std::string_view bytes);
// The next frame; an empty string is the end of the message. Error when the stream ends early.
[[nodiscard]] Result<std::string> read_drop_frame(int fd);

}  // namespace postern::queuefile
