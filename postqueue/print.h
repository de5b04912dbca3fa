// print.h - the listings of postqueue -p and -j, to the byte as programs parse them.

#pragma once

#include <string>
#include <vector>

#include "common/queuefile/listing.h"

namespace postern::postqueue {

// Which columns a listing has: as wide as long or short queue ids are (enable_long_queue_ids).
enum class IdColumn : unsigned char { kShort, kLong };

[[nodiscard]] std::string print_text(const std::vector<queuefile::ListedMessage>& messages,
                                     IdColumn ids);
// One JSON object a line.
[[nodiscard]] std::string print_json(const std::vector<queuefile::ListedMessage>& messages);

}  // namespace postern::postqueue
