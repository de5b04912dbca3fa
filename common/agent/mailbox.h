// mailbox.h - what writing to a Maildir and to an mbox have in common: the message, the outcome,
// and which failure means what.
//
// The functions of maildir.h and mbox.h block, and run in a process that already has the
// recipient's uid and gid: nothing here changes owners or rights. A message is read from the queue
// file with pread, so its descriptor may be shared.
//
// What is reported as delivered is on disk. What is not delivered leaves nothing behind: a Maildir
// gets no file, an mbox is cut back to its length. In doubt a failure is temporary; permanent are
// only the limit on the mailbox's size and a mailbox that cannot be one (a directory, a path that
// leads nowhere).

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/queuefile/layout.h"

namespace postern::agent {

// A message in a queue file, and the header lines put before its own, each ending in LF.
struct MailboxMessage {
  int fd = -1;
  queuefile::Extent header{};
  queuefile::Extent body{};
  std::string prepended{};
  std::string_view loaded{};  // the bytes of the file from the first extent to the last, or empty
};

// The bytes of a small message, read once for all who get it one after the other. The descriptor
// stays open and its number the file's for as long as this lives.
class LoadedMessage {
 public:
  // For MailboxMessage::loaded, good until the next call. Empty where the message is too long or
  // cannot be read: whoever copies it then says why.
  [[nodiscard]] std::string_view find(const MailboxMessage& message);

 private:
  int fd_ = -1;
  queuefile::Extent whole_{};
  std::string bytes_;
};

// "Return-Path: <sender>", "X-Original-To: orig_to", "Delivered-To: delivered_to", each with LF and
// only where it is wanted: empty orig_to and delivered_to leave theirs out. Bytes that would end
// the line are replaced.
[[nodiscard]] std::string mailbox_headers(std::string_view sender, std::string_view orig_to,
                                          std::string_view delivered_to);

enum class MailboxOutcome { kDelivered, kDeferred, kBounced };

// Does the header say that the message was delivered to this address before? A loop, then: it came
// back by an alias or a forward.
[[nodiscard]] bool was_delivered_to(std::string_view header, std::string_view address);

struct MailboxResult {
  MailboxOutcome outcome = MailboxOutcome::kDeferred;
  std::string status{};      // "2.0.0", "4.2.0"
  std::string text{};        // for the log line and the notification
  std::string warning{};     // for the administrator; not about this one delivery
  std::string path{};        // the file of a Maildir delivery
  std::uint64_t offset = 0;  // where the message starts in an mbox (biff)
};

// The outcome for a system call that failed. EDQUOT, EIO, ENOSPC and all that may pass are
// deferred; a wrong kind of file and EFBIG (the size limit) are not.
[[nodiscard]] MailboxResult mailbox_failure(int error, std::string text);

enum class FromQuoting {
  kNone,
  kMbox,  // a line that begins with "From " gets '>' in front
};

// Writes a whole message to `out`, with the empty line between header and body, at most `limit`
// bytes (0: no limit). Gives 0 or an errno value: EFBIG at the limit; ENODATA when the queue file
// could not be read.
[[nodiscard]] int copy_message(const MailboxMessage& message, int out, FromQuoting quoting,
                               std::uint64_t limit);

// All of it; 0 or an errno value.
[[nodiscard]] int write_bytes(int fd, std::string_view bytes);

}  // namespace postern::agent
