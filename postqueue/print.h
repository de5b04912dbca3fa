// print.h - the listings of postqueue -p and -j, to the byte as programs parse them.

#pragma once

#include <string>
#include <vector>

#include "common/queuefile/listing.h"

namespace postern::postqueue {

[[nodiscard]] std::string print_text(const std::vector<queuefile::ListedMessage>& messages);
// One JSON object a line.
[[nodiscard]] std::string print_json(const std::vector<queuefile::ListedMessage>& messages);

}  // namespace postern::postqueue
