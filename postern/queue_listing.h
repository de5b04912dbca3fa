// queue_listing.h - the queue as the administrator's tools see it: its messages, those that a
// filter picks, and how they spread over domains and ages (qshape).

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/tool.h"
#include "common/queuefile/listing.h"

namespace postern::control {

// From the queue's files; needs the rights to read them. Makes queue_directory the working
// directory.
[[nodiscard]] Result<std::vector<queuefile::ListedMessage>> read_queues(
    const config::Tool& tool, const std::vector<queuefile::Queue>& queues);

// All that is given must hold.
struct QueueFilter {
  std::vector<std::string> ids;
  std::string queue;      // its name
  std::string sender;     // address, or *pattern*; <> is the null sender
  std::string recipient;  // the same, of one recipient at least
  std::string domain;     // of one recipient at least
  std::string reason;     // a part of what the log says, in any case
  std::optional<std::chrono::seconds> older, younger;
  std::optional<std::int64_t> larger, smaller;

  [[nodiscard]] bool is_empty() const;
};

[[nodiscard]] bool matches(const QueueFilter& filter, const queuefile::ListedMessage& message,
                           std::int64_t now);

struct Shape {
  bool by_sender = false;
  bool with_parents = false;
  std::size_t min_subdomains = 5;
  std::size_t buckets = 10;
  std::int64_t minutes = 5;
  bool is_linear = false;
  std::size_t width = 80;
  std::size_t top = 0;  // rows at most; 0 is all
};

[[nodiscard]] std::string print_shape(const Shape& shape,
                                      const std::vector<queuefile::ListedMessage>& messages,
                                      std::int64_t now);

}  // namespace postern::control
