// postern start, start-fg: everything that can be looked at is looked at before a process starts,
// and what is wrong is said on the terminal.

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>

#include "common/base/text.h"
#include "common/config/tool_log.h"
#include "common/log/log.h"
#include "common/sys/fd.h"
#include "common/sys/privilege.h"
#include "postern/check.h"
#include "postern/mail_system.h"
#include "postern/owners.h"
#include "postern/rebuild.h"

namespace postern::control {

namespace {

using namespace config;

// master waits some seconds for addresses that another one gives back.
constexpr std::chrono::seconds kStartTime{30};

bool is_foreground_log(const Values& values) {
  return values.text("maillog_file") == "/dev/stdout";
}

// The file that the first lines go to must be there before the log writer is.
void make_log_file(const Values& values) {
  const std::string path = values.text("maillog_file");
  if (path.empty() || is_foreground_log(values) ||
      !is_allowed_log_file(path, values.list("maillog_file_prefixes"))) {
    return;
  }
  const std::string mode = values.text("maillog_file_permissions");
  const sys::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd) ::fchmod(fd.get(), static_cast<mode_t>(std::strtoul(mode.c_str(), nullptr, 8) & 0777));
}

// Why the mail system cannot be started; what can be lived with is logged.
std::optional<std::string> find_obstacle(const MailSystem& system) {
  const Values values = system.values();
  for (const Problem& problem : make_directories(values)) {
    if (problem.severity == Severity::kError) return log_text(problem);
    log::warning("{}", problem.text);
  }
  const auto owner = sys::find_account(values.text("mail_owner"));
  if (!owner) {
    return fmt::format("{}; \"postern set-permissions\" makes the account", owner.error().text);
  }
  if (owner->uid == 0) return "mail_owner must not be the superuser";
  rebuild_tables(system.loaded, system.directory);
  std::size_t warnings = 0;
  for (const Problem& problem : check_configuration(system.loaded)) {
    if (problem.severity == Severity::kError) {
      log::error("{}", log_text(problem));
    } else if (problem.text.starts_with("not owned by") ||
               problem.text.starts_with("group or other writable")) {
      log::warning("{}", problem.text);
    } else {
      ++warnings;
    }
  }
  if (warnings > 0) {
    log::info("{} remark{} on the configuration: see \"postern check\"", warnings,
              warnings == 1 ? "" : "s");
  }
  if (system.loaded.snapshot->services.empty()) {
    return fmt::format("{}/master.cf has no service", system.directory);
  }
  return std::nullopt;
}

// What both verbs do first; nothing when the mail system may start.
std::optional<int> refuse_start(const MailSystem& system) {
  if (::geteuid() != 0) return refuse("the mail system can only be started by the superuser");
  if (system.running()) return refuse("the Postfix mail system is already running");
  if (const auto obstacle = find_obstacle(system)) return refuse(*obstacle);
  return std::nullopt;
}

std::string master_path(const MailSystem& system) {
  return system.values().text("daemon_directory") + "/master";
}

void become_background() {
  ::setsid();
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
}

[[noreturn]] void exec_master(const MailSystem& system, std::vector<std::string> words) {
  const std::string path = master_path(system);
  words.insert(words.begin(), "master");
  words.insert(words.end(), {"-c", system.directory});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(path.c_str(), argv.data());
  const std::string text = fmt::format("execute {}: {}", path, sys::errno_text(errno));
  std::exit(refuse(text));
}

// The line that master writes once it serves, or once it knows that it cannot.
std::string read_outcome(int fd) {
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + kStartTime;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd wait{fd, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) == 0) {
      return "master does not answer";
    }
    std::array<char, 4096> buffer{};
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (text.ends_with('\n')) break;
  }
  return text.empty() ? "master ended" : std::string(trim(text));
}

}  // namespace

int start_main(int /*argc*/, char** /*argv*/) {
  const auto system = open_mail_system();
  if (!system) return 1;
  make_log_file(system->values());
  open_tool_log(system->values(), "postfix-script");
  if (const auto status = refuse_start(*system)) return *status;
  if (is_foreground_log(system->values())) {
    return refuse("maillog_file is /dev/stdout: use \"postern start-fg\"");
  }
  log::info("starting the Postfix mail system");
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return refuse("pipe: " + sys::errno_text(errno));
  const sys::Fd outcome(fds[0]);
  sys::Fd ready(fds[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return refuse("fork: " + sys::errno_text(errno));
  if (pid == 0) {
    become_background();
    ::fcntl(ready.get(), F_SETFD, 0);
    exec_master(*system, {"-r", fmt::format("{}", ready.get())});
  }
  ready.reset();
  const std::string text = read_outcome(outcome.get());
  if (text == "ready") return 0;
  return refuse("mail system startup failed: " + text);
}

int start_fg_main(int /*argc*/, char** /*argv*/) {
  const auto system = open_mail_system();
  if (!system) return 1;
  make_log_file(system->values());
  open_tool_log(system->values(), "postfix-script");
  if (const auto status = refuse_start(*system)) return *status;
  log::info("starting the Postfix mail system");
  exec_master(*system, {"-i"});
}

}  // namespace postern::control
