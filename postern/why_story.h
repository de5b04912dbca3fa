// why_story.h - what is known of one waiting message, told to a person or a program: `postern why`.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/queuefile/envelope.h"
#include "common/queuefile/reason_log.h"

namespace postern::control {

// Times are seconds since 1970.
struct Attempt {
  std::int64_t time = 0;
  std::string status{};
  std::string text{};
};

struct StoryRecipient {
  queuefile::Recipient recipient{};
  std::vector<Attempt> attempts{};  // the oldest first
};

struct Story {
  std::string queue_name{};
  std::string queue_id{};
  std::uint64_t size = 0;
  bool is_forced_expire = false;
  queuefile::Envelope envelope{};  // its recipients are in `recipients`
  std::vector<StoryRecipient> recipients{};
  std::int64_t warned = 0;        // when the sender was told of the delay; 0: not
  std::int64_t next_attempt = 0;  // 0: it is not deferred
  std::int64_t gives_up = 0;
  std::string lifetime{};  // the parameter that says so
};

// Gives each recipient the entries of the message's logs that are about it.
void add_attempts(Story& story, const std::vector<queuefile::Reason>& history);

// For people; what comes from outside is printed without control characters.
[[nodiscard]] std::string print_story(const Story& story, std::int64_t now);
[[nodiscard]] std::string print_stories_json(const std::vector<Story>& stories);

}  // namespace postern::control
