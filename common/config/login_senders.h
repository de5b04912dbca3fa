// login_senders.h - local_login_sender_maps: the envelope senders that a user's commands may give.

#pragma once

#include <string_view>

#include "common/base/result.h"
#include "common/config/values.h"

namespace postern::config {

// Whether one of the patterns, with blanks or commas between them, allows the sender: `*` all of
// them, `<>` (or what `null_key` says) the null sender, `@domain` those of a domain, and an address
// itself. Address extensions of the sender do not count.
[[nodiscard]] bool allows_sender(std::string_view patterns, std::string_view sender,
                                 std::string_view delimiters, std::string_view null_key);

// Whether the caller's real user may give this sender; the first table that knows the login name
// (uid:number where there is none) decides. An error: one could not be asked, and the answer is no.
[[nodiscard]] Result<bool> may_send_as(const Values& values, std::string_view sender);

}  // namespace postern::config
