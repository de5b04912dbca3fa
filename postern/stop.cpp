// postern stop, abort, reload, status, logrotate: what is asked of a mail system that runs.

#include <fmt/format.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <ctime>
#include <thread>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/sys/lock.h"
#include "postern/certificates.h"
#include "postern/check.h"
#include "postern/mail_system.h"
#include "postern/queue_tools.h"
#include "postern/rebuild.h"

namespace postern::control {

namespace {

using namespace config;
using namespace std::chrono_literals;

constexpr auto kStopTime = 12s;
constexpr auto kReloadTime = 10s;
constexpr auto kPause = 20ms;
constexpr std::string_view kNotRunning = "the Postfix mail system is not running";

// Waits for what happens elsewhere; whether it did.
template <typename Condition>
bool wait_for(std::chrono::steady_clock::duration limit, Condition happened) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!happened()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

bool is_gone(const MailSystem& system) { return !system.running(); }

struct Running {
  MailSystem system;
  pid_t pid;
};

// The mail system that runs; where none does, that is said and an empty value returned.
std::optional<Running> find_running() {
  auto system = open_mail_system();
  if (!system) return std::nullopt;
  if (::geteuid() != 0) {
    refuse("the mail system can only be controlled by the superuser");
    return std::nullopt;
  }
  const auto pid = system->running();
  if (!pid) {
    refuse(kNotRunning);
    return std::nullopt;
  }
  return Running{*std::move(system), *pid};
}

// What master wrote about its last reload: "3 accepted".
struct Generation {
  unsigned number = 0;
  bool is_accepted = false;
};
Generation read_generation(const MailSystem& system) {
  const auto text = read_file(system.values().text("data_directory") + "/master.lock", 4096);
  if (!text) return {};
  const auto words = split_words(*text);
  if (words.size() != 2) return {};
  return {parse_integer<unsigned>(words[0]).value_or(0), words[1] == "accepted"};
}

int end_of(const MailSystem& system, pid_t pid, int signal) {
  ::kill(pid, signal);
  if (wait_for(kStopTime, [&] { return is_gone(system); })) return 0;
  log::warning("the mail system does not stop: it is ended by force");
  ::kill(pid, SIGQUIT);
  if (wait_for(2s, [&] { return is_gone(system); })) return 0;
  ::kill(pid, SIGKILL);
  return wait_for(2s, [&] { return is_gone(system); }) ? 0 : 1;
}

bool ask_for_reload(const MailSystem& system, pid_t pid, bool& is_accepted) {
  const Generation before = read_generation(system);
  ::kill(pid, SIGHUP);
  Generation after;
  const bool happened = wait_for(kReloadTime, [&] {
    after = read_generation(system);
    return after.number != before.number;
  });
  is_accepted = after.is_accepted;
  return happened;
}

// Runs the packer of rotated logs; whether it ended with 0.
bool compress(const std::string& command, const std::string& path) {
  std::vector<std::string> words;
  for (const std::string_view word : split_words(command, kBlanks)) words.emplace_back(word);
  if (words.empty()) return true;
  words.push_back(path);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string search = "PATH=/usr/bin:/bin:/usr/sbin:/sbin";
  char* environment[] = {search.data(), nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environment) != 0) return false;
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string rotated_name(const Values& values, const std::string& path) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 256> suffix{};
  const std::string format = values.text("maillog_file_rotate_suffix");
  const std::size_t size = std::strftime(suffix.data(), suffix.size(), format.c_str(), &local);
  return fmt::format("{}.{}", path, std::string_view(suffix.data(), size));
}

}  // namespace

int stop_main(int /*argc*/, char** /*argv*/) {
  const auto running = find_running();
  if (!running) return 1;
  log::info("stopping the Postfix mail system");
  return end_of(running->system, running->pid, SIGTERM);
}

int abort_main(int /*argc*/, char** /*argv*/) {
  const auto running = find_running();
  if (!running) return 1;
  log::info("aborting the Postfix mail system");
  return end_of(running->system, running->pid, SIGQUIT);
}

int status_main(int /*argc*/, char** /*argv*/) {
  const auto system = open_mail_system();
  if (!system) return 1;
  const auto pid = system->running();
  if (pid) {
    log::info("the Postfix mail system is running: PID: {}", *pid);
  } else {
    log::info("{}", kNotRunning);
  }
  if (::isatty(STDERR_FILENO) != 1) {
    fmt::print(stderr, "postfix-script: {}\n",
               pid ? fmt::format("the Postfix mail system is running: PID: {}", *pid)
                   : std::string(kNotRunning));
  }
  fmt::print("{}", list_certificates(system->loaded.snapshot));
  return pid ? 0 : 1;
}

int reload_main(int /*argc*/, char** /*argv*/) {
  const auto running = find_running();
  if (!running) return 1;
  rebuild_tables(running->system.loaded, running->system.directory);
  const Problems problems = check_configuration(running->system.loaded);
  if (has_error(problems)) {
    for (const Problem& problem : problems) {
      if (problem.severity != Severity::kError) continue;
      log::error("{}", log_text(problem));
      if (::isatty(STDERR_FILENO) != 1) {
        fmt::print(stderr, "postfix-script: error: {}\n", log_text(problem));
      }
    }
    return refuse("reload refused: the running configuration stays");
  }
  log::info("refreshing the Postfix mail system");
  bool is_accepted = false;
  if (!ask_for_reload(running->system, running->pid, is_accepted)) {
    return refuse("master does not answer");
  }
  if (!is_accepted) return refuse("reload refused: see the log");
  // The form of queue ids may have changed.
  return tidy_queue(running->system.loaded.snapshot->config_directory);
}

int logrotate_main(int /*argc*/, char** /*argv*/) {
  const auto system = open_mail_system();
  if (!system) return 1;
  if (::geteuid() != 0) return refuse("logrotate needs the superuser");
  const Values values = system->values();
  const std::string path = values.text("maillog_file");
  if (path.empty()) return refuse("empty 'maillog_file' parameter value - logfile rotation failed");
  if (path.starts_with("/dev/")) {
    return refuse("maillog_file is no file that could be rotated");
  }
  const std::string rotated = rotated_name(values, path);
  struct stat status{};
  if (::lstat(rotated.c_str(), &status) == 0) return refuse(rotated + ": file exists");
  if (::rename(path.c_str(), rotated.c_str()) != 0) {
    return refuse(fmt::format("rename {}: {}", path, sys::errno_text(errno)));
  }
  if (const auto pid = system->running()) {
    bool is_accepted = false;
    if (!ask_for_reload(*system, *pid, is_accepted) || !is_accepted) {
      log::warning("the log writer goes on with {}: reload failed", rotated);
      return 1;
    }
    // The last lines of the old writer.
    std::this_thread::sleep_for(1s);
  }
  if (!compress(values.text("maillog_file_compressor"), rotated)) {
    log::warning("{}: maillog_file_compressor failed", rotated);
    return 1;
  }
  return 0;
}

}  // namespace postern::control
