// postlock.cpp - runs a command while a mail folder is locked, as deliveries lock it; and postkick,
// which wakes a service up.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "common/base/text.h"
#include "common/config/params/paths.h"
#include "common/config/tool.h"
#include "common/ipc/channel.h"
#include "common/ipc/control.h"
#include "common/ipc/qmgr.h"
#include "common/log/log.h"
#include "common/sys/fd.h"
#include "common/sys/socket.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

int fail_with(int status, std::string_view text) {
  log::write(log::Level::kFatal, text);
  return status;
}

// Removes the lock file of the dotlock method.
class DotLock {
 public:
  DotLock() = default;
  DotLock(const DotLock&) = delete;
  DotLock& operator=(const DotLock&) = delete;
  ~DotLock() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  // 0 or errno. A lock older than `stale` was left behind by somebody who died.
  int take(const std::string& path, std::chrono::seconds stale) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    const sys::Fd fd(::open(path.c_str(), kFlags, 0));
    if (fd) {
      path_ = path;
      return 0;
    }
    const int error = errno;
    struct stat st{};
    if (error == EEXIST && ::stat(path.c_str(), &st) == 0 &&
        ::time(nullptr) - st.st_mtime > stale.count()) {
      ::unlink(path.c_str());
    }
    return error;
  }

 private:
  std::string path_;
};

int try_lock(int fd, const std::vector<std::string>& methods, const std::string& folder,
             std::chrono::seconds stale, DotLock& dot) {
  for (const auto& method : methods) {
    int error = 0;
    if (method == "flock") {
      error = ::flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    } else if (method == "fcntl") {
      struct flock lock{};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      error = ::fcntl(fd, F_SETLK, &lock) == 0 ? 0 : errno;
    } else if (method == "dotlock") {
      error = dot.take(folder + ".lock", stale);
    }
    if (error != 0) return error;
  }
  return 0;
}

}  // namespace

int postlock_main(int argc, char** argv) {
  log::open({.program = "postlock", .to_terminal = true});
  std::string directory;
  std::optional<std::string> style;
  // "+": the options behind the folder are the command's.
  for (int letter = 0; (letter = ::getopt(argc, argv, "+c:l:v")) != -1;) {
    if (letter == 'c') directory = ::optarg;
    if (letter == 'l') style = ::optarg;
    if (letter == '?') {
      return fail_with(EX_TEMPFAIL,
                       "usage: postlock [-c config_dir] [-l lock_style] [-v] folder command...");
    }
  }
  if (argc - ::optind < 2) {
    return fail_with(EX_TEMPFAIL,
                     "usage: postlock [-c config_dir] [-l lock_style] [-v] folder command...");
  }
  const auto tool = config::open_tool(directory);
  if (!tool) return fail_with(EX_TEMPFAIL, tool.error().text);
  const std::string folder = argv[::optind];
  std::vector<std::string> methods = tool->values.list("mailbox_delivery_lock");
  if (style) methods = config::split_list(*style);
  for (const auto& method : methods) {
    if (method == "flock" || method == "fcntl" || method == "dotlock") continue;
    return fail_with(EX_TEMPFAIL,
                     fmt::format("unknown mailbox_delivery_lock value \"{}\" in \"{}\"", method,
                                 join(methods, ", ")));
  }
  const sys::Fd fd(::open(folder.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!fd)
    return fail_with(EX_TEMPFAIL, fmt::format("open file {}: {}", folder, sys::errno_text(errno)));
  const auto attempts = tool->values.count("deliver_lock_attempts");
  const auto delay = tool->values.duration("deliver_lock_delay");
  const auto stale = tool->values.duration("stale_lock_time");
  int error = 0;
  int status = 0;
  {
    DotLock dot;
    for (std::int64_t attempt = 0; attempt < attempts; ++attempt) {
      if (attempt > 0) std::this_thread::sleep_for(delay);
      error = try_lock(fd.get(), methods, folder, stale, dot);
      if (error == 0) break;
    }
    if (error != 0) {
      const bool is_dotlock = error == EEXIST;
      return fail_with(EX_TEMPFAIL,
                       is_dotlock
                           ? fmt::format("open file {0}: unable to create lock file {0}.lock: {1}",
                                         folder, sys::errno_text(error))
                           : fmt::format("open file {}: unable to lock for exclusive access: {}",
                                         folder, sys::errno_text(error)));
    }
    const pid_t child = ::fork();
    if (child < 0) return fail_with(EX_TEMPFAIL, fmt::format("fork: {}", sys::errno_text(errno)));
    if (child == 0) {
      ::execvp(argv[::optind + 1], argv + ::optind + 1);
      fmt::print(stderr, "postlock: fatal: execvp {}: {}\n", argv[::optind + 1],
                 sys::errno_text(errno));
      ::_exit(EXIT_FAILURE);
    }
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

// The letters of a request are those of Postfix: W wakes up, for qmgr also D (deferred), I
// (incoming), F (forget dead destinations), A (ignore time stamps).
int postkick_main(int argc, char** argv) {
  log::open({.program = "postkick", .to_terminal = true});
  std::string directory;
  for (int letter = 0; (letter = ::getopt(argc, argv, "c:v")) != -1;) {
    if (letter == 'c') directory = ::optarg;
    if (letter == '?') ::optind = argc;
  }
  if (argc - ::optind != 3) {
    return fail_with(1, "usage: postkick [-c config_dir] [-v] class service request");
  }
  const std::string_view group = argv[::optind];
  const std::string service = argv[::optind + 1];
  const std::string_view request = argv[::optind + 2];
  if ((group != "public" && group != "private") || service.empty() ||
      service.find("..") != std::string::npos || service.starts_with('/')) {
    return fail_with(1, fmt::format("{}/{}: public or private and the name of a service "
                                    "expected",
                                    group, service));
  }
  const auto tool = config::open_tool(directory);
  if (!tool) return fail_with(EX_TEMPFAIL, tool.error().text);
  const std::string queue = tool->values.text("queue_directory");
  if (::chdir(queue.c_str()) < 0) {
    return fail_with(EX_TEMPFAIL, fmt::format("chdir {}: {}", queue, sys::errno_text(errno)));
  }
  auto fd = sys::connect_unix(fmt::format("{}/{}", group, service));
  if (!fd) {
    log::warning("{}", fd.error().text);
    log::warning("Cannot contact class {} service {} - perhaps the mail system is down", group,
                 service);
    return 1;
  }
  loop::Loop loop;
  const ipc::Dispatcher dispatcher;
  const auto channel = std::make_shared<ipc::Channel>(*std::move(fd), dispatcher);
  channel->start();
  if (service == "qmgr") {
    const bool is_flush = request.find_first_of("DFA") != std::string_view::npos;
    if (is_flush) {
      channel->notify(ipc::qmgr::Flush{});
    } else {
      channel->notify(ipc::qmgr::Rescan{});
    }
  } else {
    channel->notify(ipc::control::Wakeup{});
  }
  channel->flush_now();
  channel->close();
  return 0;
}

}  // namespace postern::control
