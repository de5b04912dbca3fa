// mbox.h - delivery to an mbox: messages one behind the other in one file, under locks.
//
// The file is locked in the ways that mailbox_delivery_lock lists, in the order dotlock, then the
// kernel's: all programs that respect one of them are kept out. After that the open file is still
// the one of that name, a regular file with one name, the recipient's own. A message that cannot be
// written whole is cut off again before the locks go.
//
// The kernel's fcntl locks are a process's: one process must not deliver twice at a time to the
// same file.
//
// A symbolic link is followed only when root made it; nobody else can send us to another file.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/agent/mailbox.h"
#include "common/base/result.h"

namespace postern::agent {

struct MboxLocks {
  bool dotlock = true;
  bool fcntl = true;
  bool flock = false;
  unsigned attempts = 20;                 // deliver_lock_attempts
  std::chrono::milliseconds delay{1000};  // deliver_lock_delay
  std::chrono::seconds stale_after{500};  // stale_lock_time: an older dotlock is removed
};

// "fcntl, dotlock": the words of mailbox_delivery_lock. Attempts and delays stay the defaults.
[[nodiscard]] Result<MboxLocks> parse_mailbox_locks(std::string_view list);

struct MboxRequest {
  std::string path{};
  std::string sender{};          // for the "From " line; empty: MAILER-DAEMON
  std::optional<uid_t> owner{};  // the file must be this user's: strict_mailbox_ownership
  MboxLocks locks{};
  std::uint64_t limit = 0;    // bytes of the whole file; 0: none
  bool allow_device = false;  // "/dev/null" as an alias' file: no locks, no flush
  // A mailbox that cannot be opened or locked is tried again, whatever is in the way.
  bool open_failures_defer = false;
  std::string failure_prefix{};  // "cannot update mailbox PATH for user USER. "
  std::string success_text = "delivered to mailbox";
};

[[nodiscard]] MailboxResult deliver_to_mbox(const MailboxMessage& message,
                                            const MboxRequest& request);

// "From alice@example.org  Sun Nov 22 17:07:35 2026", with LF; local time.
[[nodiscard]] std::string from_line(std::string_view sender, std::int64_t seconds);

}  // namespace postern::agent
