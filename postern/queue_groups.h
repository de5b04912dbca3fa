// queue_groups.h - the waiting messages by what they have in common: `postern queue --group`.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/queuefile/listing.h"

namespace postern::control {

enum class GroupBy { kReason, kDomain, kSender };

[[nodiscard]] std::optional<GroupBy> find_group_by(std::string_view name);
[[nodiscard]] std::string_view group_by_name(GroupBy by);

struct QueueGroup {
  std::string name{};
  std::size_t messages = 0;
  std::uint64_t bytes = 0;
  std::int64_t oldest = 0;        // the arrival of its oldest message, seconds since 1970
  std::int64_t next_attempt = 0;  // the earliest of its messages; 0: none is deferred

  friend bool operator==(const QueueGroup&, const QueueGroup&) = default;
};

struct QueueGroups {
  QueueGroup total{};
  std::vector<QueueGroup> groups{};  // the largest first
};

// What a reason has in common with those of other messages: without addresses of hosts and without
// words that are a number or an id.
[[nodiscard]] std::string reason_group(std::string_view reason);

// A message counts once in each group that one of its recipients belongs to.
[[nodiscard]] QueueGroups group_messages(GroupBy by,
                                         const std::vector<queuefile::ListedMessage>& messages);

// "90 s", "3 min", "2 h 10 min", "4 d 3 h".
[[nodiscard]] std::string span_text(std::int64_t seconds);
// "17:36:20" for a moment of today, else with the date; local time.
[[nodiscard]] std::string moment_text(std::int64_t when, std::int64_t now);
// "442 bytes", "3.1 MB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

// The groups as lines, with a line of totals above them.
[[nodiscard]] std::string print_groups(const QueueGroups& groups, std::int64_t now);
[[nodiscard]] std::string print_groups_json(GroupBy by, const QueueGroups& groups);

}  // namespace postern::control
