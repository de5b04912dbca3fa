// reject_footer.h - what administrators add to replies that refuse, in sessions and in the dialogue
// of first contact.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/tables_client.h"
#include "common/mail/reply.h"

namespace postern::smtpd {

// What `maps` say of a whole reply. A look-up that fails is a warning with `parameter`: the refusal
// stands, whatever is to be said with it.
[[nodiscard]] loop::Task<std::optional<std::string>> find_reply_text(ipc::TablesClient& tables,
                                                                     std::vector<std::string> maps,
                                                                     std::string reply,
                                                                     std::string_view parameter);

// An expanded smtpd_reject_footer: "\n" begins another line, "\c" at the start goes on with the
// last one of the reply.
void append_footer(mail::Reply& reply, std::string_view text);

}  // namespace postern::smtpd
