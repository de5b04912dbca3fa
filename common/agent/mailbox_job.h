// mailbox_job.h - what the delivery to a mailbox is made of, for agents that have deliverers.

#pragma once

#include <string>
#include <vector>

#include "common/agent/delivery.h"
#include "common/agent/jobs.h"
#include "common/agent/mbox.h"

namespace postern::agent {

// The locks and limits of an agent's mailboxes, from its parameters.
struct MailboxSettings {
  MboxLocks locks{};
  std::uint64_t limit = 0;
  bool strict_ownership = true;
  std::string host{};  // for the names of Maildir files
};

// A path that ends in a slash is a Maildir.
[[nodiscard]] Job mailbox_job(const Delivery& delivery, const queuefile::Message& message,
                              std::string path, std::string prepended,
                              const MailboxSettings& settings);

// A command that gets the message; what is run, and how, is the caller's to fill in.
[[nodiscard]] Job command_job(const queuefile::Message& message, std::string prepended,
                              std::chrono::seconds time_limit);

// export_environment: NAME=value, or NAME for what this process has.
[[nodiscard]] std::vector<std::string> command_environment(const std::vector<std::string>& exported,
                                                           std::string_view config_directory);

// What a deliverer has said, as the verdict on a recipient; logs its warning.
[[nodiscard]] Verdict verdict_of(const Result<JobReply>& reply, std::string_view queue_id,
                                 std::string_view relay);

// The header of a message, from memory or from the file: at most 1 MiB of it.
[[nodiscard]] std::string header_of(const Delivery& delivery, const queuefile::Message& message);

}  // namespace postern::agent
