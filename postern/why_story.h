// why_story.h - what is known of one waiting message, told to a person or a program: `postern why`.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/queuefile/envelope.h"
#include "common/queuefile/reason_log.h"
#include "postern/lifetimes.h"

namespace postern::control {

// Times are seconds since 1970.
struct Attempt {
  std::int64_t time = 0;
  std::string status{};
  std::string text{};
};

struct StoryRecipient {
  queuefile::Recipient recipient{};
  Lifetime lifetime{};
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
  Lifetime lifetime{};            // of the recipients that have no other
  std::string secrecy{};          // "TLSv1.3 with cipher ...", "TLS"; empty: in the clear
  // What was found out about the sender when it came: {"spf", "pass"}.
  std::vector<std::pair<std::string, std::string>> verdicts{};
};

// From what the envelope and the header say; `authserv_id` is our own in Authentication-Results.
void add_facts(Story& story, std::string_view header, std::string_view authserv_id);

// Gives each recipient the entries of the message's logs that are about it.
void add_attempts(Story& story, const std::vector<queuefile::Reason>& history);

// For people; what comes from outside is printed without control characters.
[[nodiscard]] std::string print_story(const Story& story, std::int64_t now);
[[nodiscard]] std::string print_stories_json(const std::vector<Story>& stories);

}  // namespace postern::control
