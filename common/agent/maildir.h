// maildir.h - delivery to a Maildir: one file a message, no locks.
//
// The file is written in tmp/, flushed, renamed to new/ under a name that nobody else makes
// (time, device and inode, microseconds, host), and new/ is flushed: only then is the message
// delivered. A missing Maildir is made, with mode 0700 for all that is made, and flushed before the
// first message is. Whatever fails, tmp/ and new/ are as they were before.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/agent/mailbox.h"
#include "common/sys/fd.h"

namespace postern::agent {

struct MaildirRequest {
  std::string path{};       // of the Maildir, with or without the slash at its end
  std::string host{};       // of this machine, for the file name
  std::uint64_t limit = 0;  // bytes of one message; 0: none
};

// One delivery in its steps, so that several can be flushed together. Each step gives the result
// when it fails, and nothing when the next one is due; an object that is dropped before finish()
// leaves nothing behind.
class MaildirDelivery {
 public:
  explicit MaildirDelivery(MaildirRequest request);
  ~MaildirDelivery();
  MaildirDelivery(const MaildirDelivery&) = delete;
  MaildirDelivery& operator=(const MaildirDelivery&) = delete;

  // Into tmp/.
  [[nodiscard]] std::optional<MailboxResult> write(const MailboxMessage& message);
  // The written file, to be flushed.
  [[nodiscard]] int fd() const { return file_.get(); }
  // Under its name in new/, with what the flush of the file gave: 0 or an errno value.
  [[nodiscard]] std::optional<MailboxResult> publish(int flush_error);
  // Flushes new/: serves all deliveries to this Maildir that are published. 0 or an errno value.
  [[nodiscard]] int flush_new() const;
  // The end, with what flush_new() gave.
  [[nodiscard]] MailboxResult finish(int flush_error);

  [[nodiscard]] const std::string& path() const { return request_.path; }

 private:
  MaildirRequest request_;
  std::int64_t seconds_ = 0;
  std::int64_t microseconds_ = 0;
  sys::Fd file_;
  std::string leftover_;  // to be removed unless all succeeds
};

[[nodiscard]] MailboxResult deliver_to_maildir(const MailboxMessage& message,
                                               const MaildirRequest& request);

// "1795367255.Vfe01I2c0d3M123456.mx.example.org"
[[nodiscard]] std::string maildir_name(std::int64_t seconds, std::int64_t microseconds,
                                       std::uint64_t device, std::uint64_t inode,
                                       std::string_view host);

}  // namespace postern::agent
