// require_tls.h - how strictly a sender's wish for REQUIRETLS (RFC 8689) is kept with a next hop:
// smtp_requiretls_policy.
//
//     inline:{ { partner.example = opportunistic } }, enforce
//
// The words in turn: the first that is a level, or a table that has one for the next hop's domain
// or a parent (".example"), decides; where none does, it is enforced.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"

namespace postern::smtpclient {

enum class RequireTls : unsigned char {
  kDisable,           // as if nobody had asked
  kOpportunistic,     // passed on to servers that know it
  kOpportunisticTls,  // and nothing is sent in the clear
  kEnforce,           // only to verified servers that know it
};

[[nodiscard]] std::optional<RequireTls> parse_require_tls(std::string_view word);

// `domain` is the next hop without brackets and port.
[[nodiscard]] loop::Task<Result<RequireTls>> find_require_tls(ipc::TablesClient* tables,
                                                              std::vector<std::string> policy,
                                                              std::string domain);

}  // namespace postern::smtpclient
