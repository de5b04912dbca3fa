// hostile.cpp - what runs where a daemon should: it has that daemon's confinement and tries what it
// must not do. The name of its service says what, the log how it went. For tests only.

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "common/sys/privilege.h"
#include "common/sys/socket.h"

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

// --- with an account alone, without the rest of a confinement ---

// The first process of that name that is not this one.
pid_t find_process(const std::string& name) {
  for (pid_t pid = 1; pid < 100'000; ++pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string found;
    if (pid != ::getpid() && std::getline(file, found) && found == name) return pid;
  }
  return 0;
}

int list(const std::string& directory) {
  DIR* const found = ::opendir(directory.c_str());
  return found == nullptr ? -1 : ::closedir(found);
}

// Any of the files of a process that say more than its name.
int open_process(pid_t pid) {
  for (const char* const name : {"mem", "environ", "maps", "fd/3", "fd/4"}) {
    if (open_file(("/proc/" + std::to_string(pid) + "/" + name).c_str()) >= 0) return 0;
  }
  return -1;
}

int take_descriptor(pid_t pid) {
  const auto process = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  return static_cast<int>(::syscall(SYS_pidfd_getfd, process, 3, 0));
}

int read_memory_of(pid_t pid) {
  char from[8]{};
  char to[8]{};
  const iovec here{to, sizeof to};
  const iovec there{from, sizeof from};  // without randomisation it would be its, too
  if (::process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0) return 0;
  return errno == EFAULT ? 0 : -1;
}

int open_first_file(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, error)) {
    if (entry.is_regular_file(error)) return open_file(entry.path().c_str());
  }
  errno = error ? error.value() : ENOENT;
  return -1;
}

// To deliver mail that is in no queue: refused before anything is read.
int ask_agent(const std::string& service) {
  const auto connected = postern::sys::connect_unix("private/" + service);
  if (!connected) return -1;
  char byte = 0;
  // It greets qmgr with its credits.
  pollfd wait{connected->get(), POLLIN, 0};
  if (::poll(&wait, 1, 5000) <= 0) return -1;
  const ssize_t count = ::recv(connected->get(), &byte, 1, MSG_DONTWAIT);
  errno = EPIPE;
  return count > 0 ? 0 : -1;
}

int try_bare(const std::string& what, const std::string& data_directory) {
  const auto dash = what.find('-');
  const std::string whom = what.substr(0, dash);
  const std::string how = what.substr(dash + 1);
  if (whom == "queue") return how == "list" ? list("deferred") : open_first_file("deferred");
  if (whom == "maildrop") return list("maildrop");
  if (whom == "agent") return ask_agent(how);
  if (whom == "data") {
    return how == "list" ? list(data_directory)
                         : open_file((data_directory + "/master.lock").c_str());
  }
  const pid_t pid = find_process(whom);
  errno = ESRCH;
  if (pid == 0) return 0;
  if (how == "signal") return ::kill(pid, 0);
  if (how == "trace") return static_cast<int>(::ptrace(PTRACE_SEIZE, pid, 0, 0));
  if (how == "memory") return read_memory_of(pid);
  if (how == "descriptor") return take_descriptor(pid);
  return open_process(pid);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "smtpd");
  constexpr std::string_view kBare = "bare-";
  if (process.service().starts_with(kBare)) {
    const auto done = sys::become(process.account(), sys::Groups::kSupplementary);
    if (!done) log::fatal("{}", done.error().text);
    const int result =
        try_bare(process.service().substr(kBare.size()), process.values().text("data_directory"));
    log::info("{}: {}", process.service(), result >= 0 ? "done" : std::strerror(errno));
    log::flush();
    return 0;
  }
  process.drop_rights();
  for (const auto& attempt : kAttempts) {
    if (attempt.service != process.service()) continue;
    const int result = attempt.run();
    log::info("{}: {}", attempt.service, result >= 0 ? "done" : std::strerror(errno));
    log::flush();
  }
  return process.serve();
}
