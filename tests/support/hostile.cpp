// hostile.cpp - what runs where a daemon should: it has that daemon's confinement and tries what it
// must not do. The name of its service says what, the log how it went. For tests only.

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "common/daemon/daemon.h"
#include "common/log/log.h"

namespace {

int open_file(const char* path) { return ::open(path, O_RDONLY | O_CLOEXEC); }

int connect_out() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(53);
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer);
}

// Of another process, it would be; there is always oneself.
int read_memory() {
  char from[8]{};
  char to[8]{};
  const iovec here{to, sizeof to};
  const iovec there{from, sizeof from};
  return static_cast<int>(::process_vm_readv(::getpid(), &here, 1, &there, 1, 0));
}

int execute() {
  const pid_t child = ::fork();
  if (child < 0) return -1;
  if (child == 0) {
    char name[] = "true";
    char* argv[] = {name, nullptr};
    char* envp[] = {nullptr};
    ::execve("/bin/true", argv, envp);
    ::_exit(errno);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  errno = WEXITSTATUS(status);
  return errno == 0 ? 0 : -1;
}

int make_code() {
  void* page =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return page == MAP_FAILED ? -1 : 0;
}

struct Attempt {
  std::string_view service;
  int (*run)();
};
constexpr Attempt kAttempts[] = {
    {"try-open-queue", [] { return open_file("deferred"); }},
    {"try-open-passwd", [] { return open_file("/etc/passwd"); }},
    {"try-connect", connect_out},
    // 0 asks whether any process at all could be signalled.
    {"try-signal", [] { return ::kill(-1, 0); }},
    {"try-memory", read_memory},
    {"try-execute", execute},
    {"try-code", make_code},
};

}  // namespace

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "smtpd");
  process.drop_rights();
  for (const auto& attempt : kAttempts) {
    if (attempt.service != process.service()) continue;
    const int result = attempt.run();
    log::info("{}: {}", attempt.service, result >= 0 ? "done" : std::strerror(errno));
    log::flush();
  }
  return process.serve();
}
