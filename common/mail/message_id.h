// message_id.h - the Message-Id of a message that came without one.

#pragma once

#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace postern::mail {

// "<20261122170735.3A15CA8E012@mx.example.org>": unique because a queue id is, at its second.
[[nodiscard]] std::string make_message_id(WallTime arrival, std::string_view queue_id,
                                          std::string_view myhostname);

// The id in a Message-Id field's body: its first <...>, without blanks; the body itself trimmed and
// on one line where there is none. For the log's message-id=.
[[nodiscard]] std::string find_message_id(std::string_view body);

}  // namespace postern::mail
