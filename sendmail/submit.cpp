#include "sendmail/submit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "common/base/text.h"
#include "common/queuefile/drop_stream.h"

namespace postern::sendmail {

Result<Drop> Drop::start(const std::string& command_directory,
                         const std::string& config_directory) {
  int to[2];
  int from[2];
  if (::pipe2(to, O_CLOEXEC) < 0) return sys::fail_errno("pipe");
  sys::Fd to_read(to[0]);
  sys::Fd to_write(to[1]);
  if (::pipe2(from, O_CLOEXEC) < 0) return sys::fail_errno("pipe");
  sys::Fd from_read(from[0]);
  sys::Fd from_write(from[1]);
  const std::string program = command_directory + "/postdrop";
  std::array<std::string, 4> words = {"postdrop", "-r", "-c", config_directory};
  std::array<char*, 5> argv{};
  std::ranges::transform(words, argv.begin(), [](std::string& word) { return word.data(); });
  // Not fork(): the child would copy what exec throws away at once.
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, to_read.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, from_write.get(), STDOUT_FILENO);
  pid_t child = -1;
  const int error =
      ::posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return sys::fail_errno(fmt::format("execute {}", program), error);
  ::signal(SIGPIPE, SIG_IGN);
  return Drop(child, std::move(to_write), std::move(from_read));
}

Drop::~Drop() { end(); }

void Drop::end() {
  to_.reset();
  if (child_.pid > 0) ::waitpid(child_.pid, nullptr, 0);
  child_.pid = -1;
}

Result<void> Drop::envelope(queuefile::Envelope& envelope) {
  DO(queuefile::check_bounds(envelope));
  std::string run;
  queuefile::append_envelope(run, envelope);
  return queuefile::write_drop_frame(to_.get(), run);
}

Result<void> Drop::content(std::string_view bytes) {
  if (bytes.empty()) return {};  // an empty frame would end the message
  return queuefile::write_drop_frame(to_.get(), bytes);
}

Result<std::string> Drop::finish() {
  DO(queuefile::write_drop_frame(to_.get(), {}));
  to_.reset();
  std::array<char, 256> buffer{};
  const ssize_t count = ::read(from_.get(), buffer.data(), buffer.size());
  int status = 0;
  while (::waitpid(child_.pid, &status, 0) < 0 && errno == EINTR) {
  }
  child_.pid = -1;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || count <= 0) {
    return fail_temporary("unable to put the message into the mail queue");
  }
  return std::string(trim(std::string_view(buffer.data(), static_cast<std::size_t>(count))));
}

}  // namespace postern::sendmail
