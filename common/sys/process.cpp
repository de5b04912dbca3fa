#include "common/sys/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>

#include <csignal>
#include <cstdlib>

namespace postern::sys {

namespace {

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// In the child: only what is safe between fork and exec of a program with one thread.
[[noreturn]] void run(const Launch& launch, char* const* argv, char* const* envp) {
  reset_signals();
  if (launch.network >= 0 && ::setns(launch.network, CLONE_NEWNET) < 0) ::_exit(127);
  std::vector<int> sources = {launch.input, launch.output, launch.error};
  sources.insert(sources.end(), launch.descriptors.begin(), launch.descriptors.end());
  const int count = static_cast<int>(sources.size());
  const int null = ::open("/dev/null", O_RDWR);
  // First all out of the way of the numbers they are to get.
  for (int& fd : sources) {
    fd = ::fcntl(fd < 0 ? null : fd, F_DUPFD, count);
    if (fd < 0) ::_exit(127);
  }
  for (int target = 0; target < count; ++target) {
    if (::dup2(sources[static_cast<std::size_t>(target)], target) < 0) ::_exit(127);
  }
  ::close_range(static_cast<unsigned>(count), ~0U, 0);
  ::execve(launch.path.c_str(), argv, envp);
  const std::string text = fmt::format("execute {}: {}\n", launch.path, errno_text(errno));
  if (::write(2, text.data(), text.size()) < 0) ::_exit(126);
  ::_exit(127);
}

}  // namespace

Result<pid_t> launch(const Launch& launch) {
  const std::vector<char*> argv = pointers_to(launch.arguments);
  const std::vector<char*> envp = pointers_to(launch.environment);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid == 0) run(launch, argv.data(), envp.data());
  return pid;
}

bool fill_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) return false;
  }
  return true;
}

Result<Fd> sealed_memory(std::string_view name, std::string_view bytes) {
  Fd fd(::memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno("memfd_create");
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno("write to memory file");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) < 0) return fail_errno("seal memory file");
  return fd;
}

}  // namespace postern::sys
