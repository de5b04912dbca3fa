#include "common/config/ask_postmap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "common/base/text.h"
#include "common/sys/fd.h"

namespace postern::config {

namespace {

constexpr std::size_t kMaxText = std::size_t{1} << 20U;

[[noreturn]] void become_postmap(const std::string& path, const std::string& table,
                                 const std::string& key, int output, int complaints) {
  const bool is_plain = ::setresgid(::getgid(), ::getgid(), ::getgid()) == 0 &&
                        ::setresuid(::getuid(), ::getuid(), ::getuid()) == 0;
  const std::array<const char*, 5> arguments = {"postmap", "-q", key.c_str(), table.c_str(),
                                                nullptr};
  const std::array<const char*, 1> environment = {nullptr};
  if (is_plain && ::dup2(output, STDOUT_FILENO) == STDOUT_FILENO &&
      ::dup2(complaints, STDERR_FILENO) == STDERR_FILENO) {
    ::execve(path.c_str(), const_cast<char* const*>(arguments.data()),
             const_cast<char* const*>(environment.data()));
  }
  ::_exit(127);
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (text.size() < kMaxText) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

}  // namespace

Result<std::optional<std::string>> ask_postmap(const Values& values, const std::string& table,
                                               const std::string& key) {
  const std::string path = values.text("command_directory") + "/postmap";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return sys::fail_errno("pipe");
  const sys::Fd output(ends[0]);
  sys::Fd input(ends[1]);
  // A file: it never makes postmap wait while we read the other.
  const sys::Fd complaints(::memfd_create("complaints", MFD_CLOEXEC));
  if (!complaints) return sys::fail_errno("memfd_create");
  const pid_t pid = ::fork();
  if (pid < 0) return sys::fail_errno("fork");
  if (pid == 0) become_postmap(path, table, key, input.get(), complaints.get());
  input.reset();
  const std::string value = read_all(output.get());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return sys::fail_errno("wait for postmap");
  }
  ::lseek(complaints.get(), 0, SEEK_SET);
  const std::string said = read_all(complaints.get());
  (void)!::write(STDERR_FILENO, said.data(), said.size());
  // postmap(1) ends with 1 for a key that is not there, and for a table that will not open.
  const bool has_failed = said.find("fatal: ") != std::string::npos;
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 1 || has_failed) {
    return fail_temporary("cannot look up " + key + " in " + table);
  }
  if (WEXITSTATUS(status) == 1) return std::nullopt;
  return std::string(trim_right(value, "\n"));
}

}  // namespace postern::config
