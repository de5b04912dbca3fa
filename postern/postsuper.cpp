// postsuper.cpp - what the administrator does with queued messages: hold, release, requeue, expire,
// delete, and put the directories in order.
//
// Files are moved as they always were; qmgr gets one notice a run, not one a message.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "common/base/text.h"
#include "common/config/params/paths.h"
#include "common/config/params/queue.h"
#include "common/config/tool.h"
#include "common/config/tool_log.h"
#include "common/ipc/channel.h"
#include "common/ipc/control.h"
#include "common/ipc/qmgr.h"
#include "common/log/log.h"
#include "common/queuefile/queue_dir.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/reader.h"
#include "common/sys/privilege.h"
#include "common/sys/socket.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

using queuefile::Queue;

[[noreturn]] void give_up(std::string_view text) {
  log::write(log::Level::kFatal, text);
  std::exit(1);
}

struct Action {
  char letter = 0;
  std::string_view done;     // of one message
  std::string_view summary;  // of all
  std::vector<Queue> from;   // where to look
  unsigned count = 0;
  unsigned released = 0;  // of those expired with 'f'
};

std::vector<Action> known_actions() {
  return {
      {'d',
       "removed",
       "Deleted",
       {Queue::kMaildrop, Queue::kHold, Queue::kIncoming, Queue::kActive, Queue::kDeferred}},
      {'h',
       "placed on hold",
       "Placed on hold",
       {Queue::kIncoming, Queue::kActive, Queue::kDeferred}},
      {'H', "released from hold", "Released from hold", {Queue::kHold}},
      {'r',
       "requeued",
       "Requeued",
       {Queue::kHold, Queue::kIncoming, Queue::kActive, Queue::kDeferred}},
      {'e',
       "expired",
       "Force-expired",
       {Queue::kHold, Queue::kIncoming, Queue::kActive, Queue::kDeferred}},
      {'f',
       "expired",
       "Force-expired",
       {Queue::kHold, Queue::kIncoming, Queue::kActive, Queue::kDeferred}},
  };
}

class Super {
 public:
  Super(const queuefile::QueueDirs& dirs, std::vector<Queue> queues, std::string pickup)
      : dirs_(dirs), queues_(std::move(queues)), pickup_(std::move(pickup)) {}

  void apply_to(Action& action, const std::string& id) {
    if (id == "ALL") return apply_to_all(action);
    if (!queuefile::is_valid_queue_id(id)) {
      if (!is_alphanumeric(id)) log::warning("invalid mail queue id: {}", log_text(id));
      return;
    }
    const auto queue = dirs_.find(id, places(action));
    if (queue && apply(action, *queue, id)) log::info("{}: {}", id, action.done);
  }

  // Files have other names or places now.
  void look_again() { is_moved_ = true; }

  // qmgr forgets what was taken away when it opens the file; what came back it must be told of.
  void notify() const {
    if (is_moved_) send("public/qmgr", ipc::qmgr::Rescan{});
    if (!expired_.empty()) {
      ipc::qmgr::Flush flush;
      flush.queue_ids = expired_;
      flush.clear_dead = false;
      send("public/qmgr", flush);
    }
    if (is_requeued_) send(pickup_.c_str(), ipc::control::Wakeup{});
  }

 private:
  static std::string log_text(std::string_view id) { return std::string(id.substr(0, 100)); }
  static bool is_alphanumeric(std::string_view id) {
    return !id.empty() && std::ranges::all_of(id, [](char c) { return is_alnum(c); });
  }

  template <typename Notice>
  void send(const char* path, const Notice& notice) const {
    auto fd = sys::connect_unix(path);
    if (!fd) return;  // the system is down: it looks for itself when it starts
    loop::Loop loop;
    const ipc::Dispatcher dispatcher;
    const auto channel = std::make_shared<ipc::Channel>(*std::move(fd), dispatcher);
    channel->start();
    channel->notify(notice);
    channel->flush_now();
    channel->close();
  }

  std::vector<Queue> places(const Action& action) const {
    if (queues_.empty()) return action.from;
    std::vector<Queue> both;
    for (const Queue queue : action.from) {
      if (std::find(queues_.begin(), queues_.end(), queue) != queues_.end()) both.push_back(queue);
    }
    return both;
  }

  void apply_to_all(Action& action) {
    for (const Queue queue : places(action)) {
      // Named first, changed afterwards: a directory that changes while it is read may show a file
      // twice.
      std::vector<std::string> ids;
      auto walk = dirs_.scan(queue);
      for (;;) {
        const auto entry = walk.next();
        if (!entry) {
          log::warning("{}", entry.error().text);
          continue;
        }
        if (!*entry) break;
        ids.push_back((*entry)->id);
      }
      // One line for all of them, at the end.
      for (const auto& id : ids) (void)apply(action, queue, id);
    }
  }

  // False: gone meanwhile, or why not is logged.
  bool apply(Action& action, Queue queue, const std::string& id) {
    const auto done = perform(action, queue, id);
    if (!done) log::warning("{}: {}", id, done.error().text);
    if (!done || !*done) return false;
    ++action.count;
    return true;
  }

  Result<bool> perform(Action& action, Queue queue, const std::string& id) {
    switch (action.letter) {
      case 'd': {
        TRY(const bool removed, dirs_.remove(queue, id));
        if (removed) {
          for (const Queue log : {Queue::kBounce, Queue::kDefer, Queue::kTrace}) {
            [[maybe_unused]] const auto also = dirs_.remove(log, id);
          }
        }
        return removed;
      }
      case 'h':
        return dirs_.move(queue, Queue::kHold, id);
      case 'H':
        return release(id);
      case 'r':
        is_requeued_ = true;
        return dirs_.move(queue, Queue::kMaildrop, id);
      default:
        return expire(action, queue, id);
    }
  }

  // Due at once, for the next run of the queue or `postqueue -f`.
  Result<bool> release(const std::string& id) {
    const std::string path = dirs_.path_of(Queue::kHold, id);
    ::utimensat(dirs_.root(), path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
    return dirs_.move(Queue::kHold, Queue::kDeferred, id);
  }

  Result<bool> expire(Action& action, Queue queue, const std::string& id) {
    const std::string path = dirs_.path_of(queue, id);
    struct stat status{};
    if (::fstatat(dirs_.root(), path.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) return false;
      return sys::fail_errno("expire");
    }
    // What has expired already is not counted again.
    const bool is_new = (status.st_mode & queuefile::kForcedExpireBit) == 0;
    if (is_new && ::fchmodat(dirs_.root(), path.c_str(),
                             queuefile::kCommittedMode | queuefile::kForcedExpireBit, 0) < 0) {
      if (errno == ENOENT) return false;
      return sys::fail_errno("expire");
    }
    if (action.letter == 'f' && queue == Queue::kHold) {
      TRY(const bool released, release(id));
      if (!released) return false;
      ++action.released;
      queue = Queue::kDeferred;
    }
    if (queue != Queue::kHold) expired_.push_back(id);
    return is_new;
  }

  const queuefile::QueueDirs& dirs_;
  std::vector<Queue> queues_;
  std::string pickup_;  // its socket
  std::vector<std::string> expired_;
  bool is_requeued_ = false;
  bool is_moved_ = false;
};

// Messages that lie where an earlier hash_queue_depth would have put them.
void repair_structure(const queuefile::QueueDirs& dirs) {
  for (const Queue queue : {Queue::kHold, Queue::kIncoming, Queue::kActive, Queue::kDeferred,
                            Queue::kBounce, Queue::kDefer, Queue::kTrace}) {
    std::vector<queuefile::QueueEntry> misplaced;
    auto walk = dirs.scan(queue, [](std::string_view path, std::string_view what) {
      log::warning("{}: {} in the mail queue; it is left alone", path, what);
    });
    for (;;) {
      const auto entry = walk.next();
      if (!entry) continue;
      if (!*entry) break;
      if ((*entry)->path != dirs.path_of(queue, (*entry)->id)) misplaced.push_back(**entry);
    }
    for (const auto& entry : misplaced) {
      const auto moved = dirs.move_path(entry.path, queue, entry.id);
      if (!moved) log::warning("{}: {}", entry.path, moved.error().text);
    }
  }
}

// With enable_long_queue_ids = no, messages with long ids get short ones: an older or another
// system that knows only those finds them. Logs of a message go along under its new name.
bool shorten_ids(const queuefile::QueueDirs& dirs) {
  bool is_any = false;
  queuefile::QueueIdSource ids(static_cast<unsigned>(::getpid()) % queuefile::kIdSlots);
  for (const Queue queue : {Queue::kHold, Queue::kIncoming, Queue::kDeferred}) {
    std::vector<std::string> long_ids;
    auto walk = dirs.scan(queue);
    for (;;) {
      const auto entry = walk.next();
      if (!entry) continue;
      if (!*entry) break;
      if (queuefile::id_time((*entry)->id)) long_ids.push_back((*entry)->id);
    }
    for (const auto& old_id : long_ids) {
      const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count();
      const std::string new_id = ids.next(now, queuefile::IdForm::kShort);
      for (const Queue log : {Queue::kBounce, Queue::kDefer, Queue::kTrace}) {
        [[maybe_unused]] const auto also = dirs.move_path(dirs.path_of(log, old_id), log, new_id);
      }
      const auto moved = dirs.move_path(dirs.path_of(queue, old_id), queue, new_id);
      if (!moved) log::warning("{}: {}", old_id, moved.error().text);
      if (!moved || !*moved) continue;
      log::info("{}: renamed to {}", old_id, new_id);
      is_any = true;
    }
  }
  return is_any;
}

void tell_count(std::string_view what, unsigned count) {
  log::info("{}: {} message{}", what, count, count == 1 ? "" : "s");
}

}  // namespace

int postsuper_main(int argc, char** argv) {
  log::open({.program = "postsuper", .to_terminal = true});
  std::string directory;
  struct Wanted {
    char letter;
    std::string id;
  };
  std::vector<Wanted> wanted;
  bool repair = false;
  for (int c = 0; (c = ::getopt(argc, argv, "c:d:e:f:h:H:pr:sSv")) != -1;) {
    switch (c) {
      case 'c':
        directory = ::optarg;
        break;
      case 's':
      case 'S':
        repair = true;
        break;
      case 'p':
      case 'v':
        break;
      case '?':
        give_up(
            "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] "
            "[-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] "
            "[-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] "
            "[-S (redundant structure fix)][-v (verbose)] [queue...]");
      default:
        wanted.push_back({static_cast<char>(c), ::optarg});
    }
  }
  if (!sys::is_root()) give_up("use of this command is reserved for the superuser");
  const auto tool = config::open_tool(directory);
  if (!tool) give_up(tool.error().text);
  config::Problems problems;
  const auto paths = config::load<config::PathsParams>(tool->values, problems);
  const auto params = config::load<config::QueueParams>(tool->values, problems);
  std::vector<Queue> queues;
  for (int i = ::optind; i < argc; ++i) {
    const auto queue = queuefile::find_queue(argv[i]);
    if (!queue) give_up(fmt::format("invalid directory name: {}", argv[i]));
    queues.push_back(*queue);
  }
  config::open_tool_log(tool->values, "postsuper", config::Terminal::kAlways);
  // What is moved must belong to the queue's owner, as new directories do.
  const auto owner = sys::find_account(paths.mail_owner);
  if (!owner) give_up(owner.error().text);
  if (::chdir(paths.queue_directory.c_str()) < 0) {
    give_up(fmt::format("chdir {}: {}", paths.queue_directory, sys::errno_text(errno)));
  }
  if (const auto dropped = sys::become(*owner, sys::Groups::kNone); !dropped) {
    give_up(dropped.error().text);
  }
  const auto dirs = queuefile::QueueDirs::open(
      ".", {params.hash_queue_names, static_cast<unsigned>(params.hash_queue_depth)});
  if (!dirs) give_up(dirs.error().text);

  Super super(*dirs, std::move(queues), "public/" + tool->values.text("pickup_service_name"));
  if (repair || wanted.empty()) {
    repair_structure(*dirs);
    if (!params.enable_long_queue_ids && shorten_ids(*dirs)) super.look_again();
  }
  auto actions = known_actions();
  for (const auto& [letter, id] : wanted) {
    const auto action = std::find_if(actions.begin(), actions.end(),
                                     [&](const Action& known) { return known.letter == letter; });
    if (id != "-") {
      super.apply_to(*action, id);
      continue;
    }
    for (std::string line; std::getline(std::cin, line);) {
      super.apply_to(*action, std::string(trim(line)));
    }
  }
  super.notify();
  for (const Action& action : actions) {
    const bool was_wanted = std::any_of(wanted.begin(), wanted.end(),
                                        [&](const Wanted& w) { return w.letter == action.letter; });
    if (was_wanted) {
      tell_count(action.summary, action.count);
      if (action.letter == 'f') tell_count("Released from hold", action.released);
    }
  }
  return 0;
}

int tidy_queue(const std::string& config_directory) {
  std::string words[] = {"postsuper", "-c", config_directory, "-s"};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  ::optind = 1;
  return postsuper_main(4, argv);
}

}  // namespace postern::control
