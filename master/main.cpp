// master - starts everybody else, and starts them again. Run by `postern start` and `start-fg`:
//
//     master [-c DIR] [-i] [-v] [-r FD]
//
// -i stays in the foreground, as process 1 of a container does. On descriptor FD goes one line,
// "ready" or why the mail system did not start.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "common/base/number.h"
#include "common/config/load.h"
#include "common/config/values.h"
#include "common/log/log.h"
#include "common/sys/act_as.h"
#include "common/sys/lock.h"
#include "master/supervisor.h"

namespace {

using namespace postern;

// Log lines that wait for the log writer while it is started again.
constexpr int kLogPipeSize = 1 << 20;

struct Arguments {
  std::string config_directory;
  bool is_foreground = false;
  sys::Fd ready;
};

Arguments parse_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int letter = 0; (letter = ::getopt(argc, argv, "c:ivDr:")) != -1;) {
    switch (letter) {
      case 'c':
        arguments.config_directory = ::optarg;
        break;
      case 'i':
        arguments.is_foreground = true;
        break;
      case 'r':
        if (const auto fd = parse_integer<int>(::optarg, 3)) {
          arguments.ready.reset(*fd);
          ::fcntl(*fd, F_SETFD, FD_CLOEXEC);
        }
        break;
      case 'v':
      case 'D':
        break;
      default:
        log::fatal("usage: master [-c DIR] [-i] [-v]");
    }
  }
  return arguments;
}

void say(const sys::Fd& ready, std::string_view text) {
  const std::string line = fmt::format("{}\n", text);
  if (ready && ::write(ready.get(), line.data(), line.size()) < 0) {
    log::warning("nobody waits for the start: {}", sys::errno_text(errno));
  }
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The lock on the pid file is what says that a master runs.
Result<sys::Fd> take_pid_file(const std::string& path) {
  ::mkdir(path.substr(0, path.rfind('/')).c_str(), 0755);
  TRY(auto file, sys::try_lock_file(path, 0644));
  if (!file) return fail_temporary("the Postfix mail system is already running");
  const std::string text = fmt::format("{:>10}\n", ::getpid());
  if (::ftruncate(file->get(), 0) != 0 ||
      ::pwrite(file->get(), text.data(), text.size(), 0) != std::ssize(text)) {
    return sys::fail_errno(fmt::format("write {}", path));
  }
  return *std::move(file);
}

Result<sys::Fd> take_data_lock(const config::Values& values) {
  TRY(const sys::Account owner, sys::find_account(values.text("mail_owner")));
  const std::string path = values.text("data_directory") + "/master.lock";
  const sys::ActAs as_owner(owner);
  TRY(auto file, sys::try_lock_file(path, 0600));
  if (!file) return fail_temporary(fmt::format("{}: locked by another mail system", path));
  if (::ftruncate(file->get(), 0) != 0) return sys::fail_errno(fmt::format("write {}", path));
  return *std::move(file);
}

struct Pipe {
  sys::Fd read, write;
};
Result<Pipe> make_log_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return sys::fail_errno("pipe");
  Pipe pipe{sys::Fd(fds[0]), sys::Fd(fds[1])};
  ::fcntl(pipe.write.get(), F_SETPIPE_SZ, kLogPipeSize);
  return pipe;
}

struct Ground {
  config::Loaded loaded;
  sys::Fd pid_file, data_lock;
  Pipe log;
};

// All that must be there before the first process; the working directory becomes the queue.
Result<Ground> prepare(const std::string& directory, const config::InstallPaths& paths) {
  Ground ground;
  TRY(ground.loaded, config::load_configuration(directory, paths));
  const config::Values values(ground.loaded.snapshot);
  const std::string queue = values.text("queue_directory");
  if (::chdir(queue.c_str()) != 0) return sys::fail_errno(fmt::format("chdir {}", queue));
  TRY(ground.pid_file, take_pid_file(values.text("process_id_directory") + "/master.pid"));
  TRY(ground.data_lock, take_data_lock(values));
  TRY(ground.log, make_log_pipe());
  return ground;
}

}  // namespace

int main(int argc, char** argv) {
  ::umask(022);
  log::open({.program = "master"});
  Arguments arguments = parse_arguments(argc, argv);
  raise_descriptor_limit();
  for (const int signal : {SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM}) ::signal(signal, SIG_IGN);

  auto signals = sys::SignalFd::open({SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGQUIT});
  if (!signals) log::fatal("{}", signals.error().text);
  const config::InstallPaths paths = config::find_install_paths();
  const auto directory = config::choose_config_directory(arguments.config_directory, paths);
  if (!directory) log::fatal("{}", directory.error().text);
  auto ground = prepare(directory->path, paths);
  if (!ground) {
    say(arguments.ready, ground.error().text);
    log::fatal("{}", ground.error().text);
  }

  loop::Loop loop;
  int status = 0;
  {
    master::Supervisor supervisor({.config_directory = directory->path,
                                   .paths = paths,
                                   .is_foreground = arguments.is_foreground,
                                   .log_read = std::move(ground->log.read),
                                   .log_write = std::move(ground->log.write),
                                   .generation = std::move(ground->data_lock)},
                                  *std::move(signals));
    if (const auto started = supervisor.start(std::move(ground->loaded)); !started) {
      say(arguments.ready, started.error().text);
      log::error("{}", started.error().text);
      log::write(log::Level::kFatal, "mail system startup failed");
      supervisor.end_at_once();
      status = 1;
    } else {
      say(arguments.ready, "ready");
      arguments.ready.reset();
      status = supervisor.run();
    }
  }
  // Nobody is to take the number for ours once it belongs to another process.
  if (::ftruncate(ground->pid_file.get(), 0) != 0) status = 1;
  return status;
}
