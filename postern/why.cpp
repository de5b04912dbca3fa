// why.cpp - `postern why`: reads the queue for the story of a message, an address or a domain.
//
// The queue is read with the rights of mail_owner, whoever calls: its files hold what strangers
// sent. Nothing is asked of a daemon, so it works with the system stopped.

#include <fmt/format.h>
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "common/base/text.h"
#include "common/config/params/paths.h"
#include "common/config/params/queue.h"
#include "common/config/tool.h"
#include "common/queuefile/listing.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/reader.h"
#include "common/sys/privilege.h"
#include "postern/lifetimes.h"
#include "postern/queue_tools.h"
#include "postern/why_story.h"

namespace postern::control {

namespace {

using queuefile::Queue;

// So many are told; of the others there is the number.
constexpr std::size_t kMostStories = 20;

int fail_with(std::string_view text) {
  fmt::print(stderr, "postern why: {}\n", text);
  return 1;
}

// Of a header more is not looked through.
constexpr std::uint64_t kMaxHeader = std::uint64_t{256} << 10;

// What a story needs beside the queue.
struct Knowledge {
  Lifetimes lifetimes;
  std::string authserv_id;
};

// That of all who wait, where they have the same; else what holds where no table says otherwise.
Lifetime common_lifetime(const Story& story, const Lifetimes& lifetimes) {
  const Lifetime* common = nullptr;
  for (const StoryRecipient& entry : story.recipients) {
    if (entry.recipient.state != queuefile::State::kPending) continue;
    if (common != nullptr && *common != entry.lifetime) {
      return lifetimes.usual(story.envelope.sender);
    }
    common = &entry.lifetime;
  }
  return common == nullptr ? lifetimes.usual(story.envelope.sender) : *common;
}

// Nothing when the message is gone, unfinished or not ours.
std::optional<Story> read_story(const queuefile::QueueDirs& dirs, Queue queue,
                                const queuefile::QueueEntry& entry, Knowledge& knowledge) {
  const auto fd = dirs.open_path(entry.path);
  if (!fd || !*fd) return std::nullopt;
  auto message = queuefile::open_message((*fd)->get(), {.verify = queuefile::Verify::kStructure});
  if (!message) return std::nullopt;
  Story story;
  story.queue_name = queuefile::queue_name(queue);
  story.queue_id = entry.id;
  story.size = message->layout.message_size;
  story.is_forced_expire = message->forced_expire;
  story.envelope = std::move(message->envelope);
  for (auto& recipient : story.envelope.recipients) {
    if (recipient.state == queuefile::State::kRemoved) continue;
    auto lifetime = knowledge.lifetimes.of(story.envelope.sender, recipient.address);
    story.recipients.push_back({std::move(recipient), std::move(lifetime), {}});
  }
  story.envelope.recipients.clear();
  struct stat status{};
  if (queue == Queue::kDeferred && ::fstat((*fd)->get(), &status) == 0) {
    story.next_attempt = status.st_mtime;
  }
  story.lifetime = common_lifetime(story, knowledge.lifetimes);
  queuefile::Extent header = message->layout.header;
  header.length = std::min(header.length, kMaxHeader);
  const auto text = queuefile::read_extent((*fd)->get(), header, kMaxHeader);
  add_facts(story, text ? std::string_view(*text) : std::string_view(), knowledge.authserv_id);
  return story;
}

void read_attempts(const queuefile::QueueDirs& dirs, Story& story) {
  std::vector<queuefile::Reason> history;
  for (const Queue log : {Queue::kDefer, Queue::kBounce}) {
    if (auto read = queuefile::read_reason_history(dirs, log, story.queue_id)) {
      std::ranges::move(*read, std::back_inserter(history));
    }
  }
  add_attempts(story, history);
}

// Of an address or a domain; those of others are left out of the story.
bool is_for(const queuefile::Recipient& recipient, std::string_view wanted) {
  if (recipient.state != queuefile::State::kPending) return false;
  const auto fits = [&](std::string_view address) {
    const auto at = address.rfind('@');
    if (wanted.find('@') != std::string_view::npos) return equal_nocase(address, wanted);
    return at != std::string_view::npos && equal_nocase(address.substr(at + 1), wanted);
  };
  return fits(recipient.address) || fits(recipient.orig_to);
}

struct Found {
  std::vector<Story> stories;  // the oldest first
  std::size_t more = 0;
};

Found find_stories(const queuefile::QueueDirs& dirs, std::string_view wanted,
                   Knowledge& knowledge) {
  Found found;
  const auto by_age = [](const Story& a, const Story& b) {
    return a.envelope.arrival.seconds < b.envelope.arrival.seconds;
  };
  for (const Queue queue : queuefile::kListedQueues) {
    auto walk = dirs.scan(queue);
    for (;;) {
      const auto entry = walk.next();
      if (!entry) continue;
      if (!*entry) break;
      auto story = read_story(dirs, queue, **entry, knowledge);
      if (!story) continue;
      std::erase_if(story->recipients, [&](const StoryRecipient& recipient) {
        return !is_for(recipient.recipient, wanted);
      });
      if (story->recipients.empty()) continue;
      auto& stories = found.stories;
      // It may have moved to another queue meanwhile.
      if (std::ranges::find(stories, entry->value().id, &Story::queue_id) != stories.end())
        continue;
      stories.insert(std::ranges::upper_bound(stories, *story, by_age), *std::move(story));
      if (stories.size() > kMostStories) {
        stories.pop_back();
        ++found.more;
      }
    }
  }
  for (auto& story : found.stories) read_attempts(dirs, story);
  return found;
}

std::optional<Story> find_message(const queuefile::QueueDirs& dirs, std::string_view id,
                                  Knowledge& knowledge) {
  for (const Queue queue : queuefile::kListedQueues) {
    auto story = read_story(dirs, queue, {std::string(id), dirs.path_of(queue, id)}, knowledge);
    if (!story) continue;
    read_attempts(dirs, *story);
    return story;
  }
  return std::nullopt;
}

Result<void> take_rights_of(const std::string& user) {
  TRY(const auto owner, sys::find_account(user));
  if (sys::is_root()) return sys::become(owner, sys::Groups::kNone);
  if (::geteuid() == owner.uid) return {};
  return fail(Error::Kind::kConfig, fmt::format("only root and {} may read the queue", owner.name));
}

int tell(const Found& found, std::string_view wanted, bool is_json) {
  const auto now = static_cast<std::int64_t>(::time(nullptr));
  if (is_json) {
    fmt::print("{}", print_stories_json(found.stories));
  } else {
    for (std::size_t i = 0; i < found.stories.size(); ++i) {
      fmt::print("{}{}", i == 0 ? "" : "\n", print_story(found.stories[i], now));
    }
  }
  if (found.more > 0) {
    fmt::print(stderr, "{} more wait: postern queue list --{} {}\n", found.more,
               wanted.find('@') == std::string_view::npos ? "domain" : "recipient", wanted);
  }
  if (!found.stories.empty()) return 0;
  return fail_with(fmt::format("{}: no such message, and nothing waits for it", wanted));
}

}  // namespace

int why_main(int argc, char** argv) {
  constexpr option kOptions[] = {{"json", no_argument, nullptr, 'j'}, {nullptr, 0, nullptr, 0}};
  constexpr std::string_view kUsage =
      "usage: postern why [-c directory] [--json] queue-id|address|domain";
  std::string directory;
  bool is_json = false;
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "c:v", kOptions, nullptr)) != -1;) {
    if (letter == '?') return fail_with(kUsage);
    if (letter == 'c') directory = ::optarg;
    if (letter == 'j') is_json = true;
  }
  if (argc - ::optind != 1 || *argv[::optind] == '\0') return fail_with(kUsage);
  const std::string_view wanted = argv[::optind];
  const auto tool = config::open_tool(directory);
  if (!tool) return fail_with(tool.error().text);
  config::Problems problems;
  const auto paths = config::load<config::PathsParams>(tool->values, problems);
  const auto params = config::load<config::QueueParams>(tool->values, problems);
  // Tables may be for root's eyes.
  Knowledge knowledge{Lifetimes(tool->values), tool->values.text("mailauth_authserv_id")};
  if (const auto taken = take_rights_of(paths.mail_owner); !taken) {
    return fail_with(taken.error().text);
  }
  const auto dirs = queuefile::QueueDirs::open(
      paths.queue_directory,
      {params.hash_queue_names, static_cast<unsigned>(params.hash_queue_depth)});
  if (!dirs) return fail_with(dirs.error().text);
  if (queuefile::is_valid_queue_id(wanted)) {
    if (auto story = find_message(*dirs, wanted, knowledge)) {
      Found found;
      found.stories.push_back(*std::move(story));
      return tell(found, wanted, is_json);
    }
  }
  return tell(find_stories(*dirs, wanted, knowledge), wanted, is_json);
}

}  // namespace postern::control
