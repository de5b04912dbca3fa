// queue_verbs.cpp - `postern queue`: list, show, hold, release, retry, expire and delete messages
// by what they are, not by id alone.
//
// What is changed is changed by postsuper and postqueue: this only picks the messages.

#include <fmt/format.h>
#include <getopt.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "common/base/text.h"
#include "common/config/param.h"
#include "common/sys/privilege.h"
#include "common/sys/process.h"
#include "postern/queue_groups.h"
#include "postern/queue_listing.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

using queuefile::ListedMessage;

struct Verb {
  std::string_view name;
  char letter;  // of postsuper; 0: nothing is changed by it
};
constexpr Verb kVerbs[] = {{"list", 0},    {"show", 0},     {"hold", 'h'},  {"release", 'H'},
                           {"retry", 'i'}, {"expire", 'e'}, {"delete", 'd'}};

int fail_with(std::string_view text) {
  fmt::print(stderr, "postern queue: {}\n", text);
  return 1;
}

int usage() {
  return fail_with(
      "usage: postern queue list|show|hold|release|retry|expire|delete [--sender ADDRESS] "
      "[--recipient ADDRESS] [--domain DOMAIN] [--reason TEXT] [--queue NAME] [--older TIME] "
      "[--younger TIME] [--larger SIZE] [--smaller SIZE] [--group reason|domain|sender] [--all] "
      "[--dry-run] [--json] [queue id...]");
}

std::string age_text(std::int64_t seconds) {
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (seconds < 7200) return fmt::format("{}m", seconds / 60);
  if (seconds < 172'800) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86'400);
}

bool uses_colour() {
  const char* const no_color = ::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) != 0 && (no_color == nullptr || *no_color == '\0');
}

void print_text(const std::vector<ListedMessage>& messages, std::int64_t now) {
  const bool colour = uses_colour();
  for (const auto& message : messages) {
    fmt::print("{}{:<16}{} {:<8} {:>5} {:>9}  {}\n", colour ? "\033[1m" : "", message.queue_id,
               colour ? "\033[0m" : "", message.queue_name,
               age_text(std::max<std::int64_t>(now - message.arrival_time, 0)), message.size,
               message.sender.empty() ? "<>" : message.sender);
    for (const auto& recipient : message.recipients) {
      fmt::print("    {}{}{}{}{}\n", recipient.address, recipient.reason.empty() ? "" : ": ",
                 colour ? "\033[33m" : "", recipient.reason, colour ? "\033[0m" : "");
    }
  }
}

void print_json(const std::vector<ListedMessage>& messages) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& message : messages) {
    nlohmann::ordered_json object = {{"queue_name", message.queue_name},
                                     {"queue_id", message.queue_id},
                                     {"arrival_time", message.arrival_time},
                                     {"message_size", message.size},
                                     {"forced_expire", message.is_forced_expire},
                                     {"sender", message.sender},
                                     {"recipients", nlohmann::ordered_json::array()}};
    for (const auto& recipient : message.recipients) {
      nlohmann::ordered_json entry = {{"address", recipient.address}};
      if (!recipient.reason.empty()) entry["delay_reason"] = recipient.reason;
      object["recipients"].push_back(std::move(entry));
    }
    list.push_back(std::move(object));
  }
  fmt::print("{}\n", list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

// Runs a command of ours with its ids as arguments; its exit status.
int run_command(const std::string& path, std::vector<std::string> arguments) {
  sys::Launch launch;
  launch.path = path;
  launch.arguments = std::move(arguments);
  launch.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  launch.output = STDOUT_FILENO;
  launch.error = STDERR_FILENO;
  const auto pid = sys::launch(launch);
  if (!pid) return fail_with(pid.error().text);
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int change(const config::Tool& tool, char letter, const std::vector<ListedMessage>& messages) {
  const std::string commands = tool.values.text("command_directory");
  if (letter == 'i') {
    for (const auto& message : messages) {
      const int status = run_command(commands + "/postqueue",
                                     {"postqueue", "-c", tool.directory, "-i", message.queue_id});
      if (status != 0) return status;
    }
    fmt::print("asked for another try of {} message{}\n", messages.size(),
               messages.size() == 1 ? "" : "s");
    return 0;
  }
  // Few enough that they fit on a command line.
  constexpr std::size_t kAtOnce = 1000;
  for (std::size_t first = 0; first < messages.size(); first += kAtOnce) {
    std::vector<std::string> arguments = {"postsuper", "-c", tool.directory};
    const std::size_t end = std::min(first + kAtOnce, messages.size());
    for (std::size_t i = first; i < end; ++i) {
      arguments.push_back(fmt::format("-{}", letter));
      arguments.push_back(messages[i].queue_id);
    }
    const int status = run_command(commands + "/postsuper", std::move(arguments));
    if (status != 0) return status;
  }
  return 0;
}

enum Option : int {
  kSender = 256,
  kRecipient,
  kDomain,
  kReason,
  kQueue,
  kOlder,
  kYounger,
  kLarger,
  kSmaller,
  kGroup,
  kAll,
  kDryRun,
  kJson
};

constexpr option kOptions[] = {{"sender", required_argument, nullptr, kSender},
                               {"recipient", required_argument, nullptr, kRecipient},
                               {"domain", required_argument, nullptr, kDomain},
                               {"reason", required_argument, nullptr, kReason},
                               {"queue", required_argument, nullptr, kQueue},
                               {"older", required_argument, nullptr, kOlder},
                               {"younger", required_argument, nullptr, kYounger},
                               {"larger", required_argument, nullptr, kLarger},
                               {"smaller", required_argument, nullptr, kSmaller},
                               {"group", required_argument, nullptr, kGroup},
                               {"all", no_argument, nullptr, kAll},
                               {"dry-run", no_argument, nullptr, kDryRun},
                               {"json", no_argument, nullptr, kJson},
                               {nullptr, 0, nullptr, 0}};

struct Request {
  QueueFilter filter;
  std::optional<GroupBy> group;
  std::string directory;
  bool is_all = false;
  bool is_dry_run = false;
  bool is_json = false;
};

Result<void> take_option(int letter, std::string_view value, Request& request) {
  QueueFilter& filter = request.filter;
  switch (letter) {
    case 'c':
      request.directory = value;
      break;
    case kSender:
      filter.sender = value;
      break;
    case kRecipient:
      filter.recipient = value;
      break;
    case kDomain:
      filter.domain = value;
      break;
    case kReason:
      filter.reason = value;
      break;
    case kQueue:
      if (!queuefile::find_queue(value)) {
        return fail(Error::Kind::kConfig,
                    fmt::format("--queue {}: maildrop, incoming, active, deferred or hold expected",
                                value));
      }
      filter.queue = value;
      break;
    case kOlder: {
      TRY(filter.older, config::parse_duration(value));
      break;
    }
    case kYounger: {
      TRY(filter.younger, config::parse_duration(value));
      break;
    }
    case kLarger: {
      TRY(filter.larger, config::parse_size(value));
      break;
    }
    case kSmaller: {
      TRY(filter.smaller, config::parse_size(value));
      break;
    }
    case kGroup:
      request.group = find_group_by(value);
      if (!request.group) {
        return fail(Error::Kind::kConfig,
                    fmt::format("--group {}: reason, domain or sender expected", value));
      }
      break;
    case kAll:
      request.is_all = true;
      break;
    case kDryRun:
      request.is_dry_run = true;
      break;
    case kJson:
      request.is_json = true;
      break;
    default:
      return fail(Error::Kind::kConfig, "");
  }
  return {};
}

}  // namespace

int queue_main(int argc, char** argv) {
  // Options alone list, as in `postern queue --group reason`.
  const bool has_verb = argc > 1 && *argv[1] != '-';
  const std::string_view name = has_verb ? argv[1] : argc > 1 ? "list" : "";
  const auto* const verb = std::ranges::find(kVerbs, name, &Verb::name);
  if (verb == std::end(kVerbs)) return usage();
  Request request;
  ::optind = has_verb ? 2 : 1;
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "c:v", kOptions, nullptr)) != -1;) {
    if (letter == 'v') continue;
    const std::string_view value = ::optarg != nullptr ? ::optarg : "";
    if (const auto taken = take_option(letter, value, request); !taken) {
      return taken.error().text.empty() ? usage() : fail_with(taken.error().text);
    }
  }
  for (int i = ::optind; i < argc; ++i) request.filter.ids.emplace_back(argv[i]);
  if (verb->letter != 0 && request.filter.is_empty() && !request.is_all) {
    return fail_with(fmt::format(
        "{}: of which messages? Name queue ids or a filter, or say --all for every one", name));
  }
  if (request.group && name != "list") return fail_with("--group goes with list only");
  const auto tool = config::open_tool(request.directory);
  if (!tool) return fail_with(tool.error().text);
  if (name == "show") {
    if (request.filter.ids.empty()) return fail_with("show: a queue id expected");
    std::vector<std::string> arguments = {"postcat", "-c", tool->directory, "-q"};
    for (const auto& id : request.filter.ids) arguments.push_back(id);
    return run_command(tool->values.text("command_directory") + "/postcat", std::move(arguments));
  }
  if (!sys::is_root()) return fail_with("only root may read the queue; try postqueue -p");
  const std::vector<queuefile::Queue> queues(std::begin(queuefile::kListedQueues),
                                             std::end(queuefile::kListedQueues));
  auto messages = read_queues(*tool, queues);
  if (!messages) return fail_with(messages.error().text);
  const auto now = static_cast<std::int64_t>(::time(nullptr));
  std::erase_if(*messages,
                [&](const auto& message) { return !matches(request.filter, message, now); });
  for (const auto& id : request.filter.ids) {
    const auto is_it = [&](const auto& message) { return message.queue_id == id; };
    if (std::ranges::none_of(*messages, is_it)) {
      fmt::print(stderr, "postern queue: warning: {}: no such message\n", id);
    }
  }
  if (request.group) {
    const auto groups = group_messages(*request.group, *messages);
    fmt::print("{}", request.is_json ? print_groups_json(*request.group, groups)
                                     : print_groups(groups, now));
    return 0;
  }
  if (verb->letter == 0 || request.is_dry_run || request.is_json) {
    if (request.is_json) {
      print_json(*messages);
    } else {
      print_text(*messages, now);
    }
  }
  if (verb->letter == 0) return 0;
  if (request.is_dry_run) {
    fmt::print(stderr, "{} message{} would be changed; nothing was\n", messages->size(),
               messages->size() == 1 ? "" : "s");
    return 0;
  }
  if (messages->empty()) return fail_with("no message is like that");
  (void)std::fflush(stdout);
  return change(*tool, verb->letter, *messages);
}

}  // namespace postern::control
