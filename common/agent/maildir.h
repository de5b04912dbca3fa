// maildir.h - delivery to a Maildir: one file a message, no locks.
//
// The file is written in tmp/, flushed, renamed to new/ under a name that nobody else makes
// (time, device and inode, microseconds, host), and new/ is flushed: only then is the message
// delivered. A missing Maildir is made, with mode 0700 for all that is made. Whatever fails, tmp/
// and new/ are as they were before.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/agent/mailbox.h"

namespace postern::agent {

struct MaildirRequest {
  std::string path{};       // of the Maildir, with or without the slash at its end
  std::string host{};       // of this machine, for the file name
  std::uint64_t limit = 0;  // bytes of one message; 0: none
};

[[nodiscard]] MailboxResult deliver_to_maildir(const MailboxMessage& message,
                                               const MaildirRequest& request);

// "1795367255.Vfe01I2c0d3M123456.mx.example.org"
[[nodiscard]] std::string maildir_name(std::int64_t seconds, std::int64_t microseconds,
                                       std::uint64_t device, std::uint64_t inode,
                                       std::string_view host);

}  // namespace postern::agent
