// anchors.h - trust anchors for a destination: the file that an entry of smtp_tls_policy_maps
// names.

#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::tables {

// "/etc/partner.pem" of "secure match=nexthop tafile=/etc/partner.pem"; of several the last. Empty:
// there is none that is an absolute path.
[[nodiscard]] std::string anchor_file_of(std::string_view entry);

// The blocks of a PEM text that anybody may see: certificates and public keys.
[[nodiscard]] std::string public_blocks(std::string_view pem);

// Those of a file, of at most kMaxAnchorFile bytes.
inline constexpr std::size_t kMaxAnchorFile = std::size_t{1} << 20;
[[nodiscard]] Result<std::string> read_anchors(const std::string& path);

}  // namespace postern::tables
