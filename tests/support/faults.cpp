// faults.cpp - a preloaded library that makes the system calls of a commit, of a delivery, or of
// marking what is done, fail, or kills the process before or after one of them. For tests only.
//
// POSTERN_TEST_FAULTS names a file that is mapped at start, before rights are dropped; the test
// writes its plan there while the daemon runs. Only files that the process has created itself
// (O_CREAT | O_EXCL) or opened to append (the records of bounce) count, and fsync, unlink, rename,
// pwrite and setting times of anything: sockets, tables and logs are left alone. fork counts in
// whoever forks.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>

namespace {

enum Call : std::uint32_t {
  kOpen = 1,
  kWrite = 2,
  kFchmod = 4,
  kFsync = 8,
  kClose = 16,
  kUnlink = 32,
  kRename = 64,
  kPwrite = 128,
  kFork = 256,
  kTimes = 512,
  // Of any socket: peers, neighbours, and what passes between the parts of an agent.
  kConnect = 1024,
  kSend = 2048,
  kReceive = 4096,
};
enum Action : std::uint32_t { kNone, kFail, kKillBefore, kKillAfter, kDelay };

// As tests/system/harness.py writes it.
struct Plan {
  std::uint32_t calls;
  std::int32_t error;  // with kDelay milliseconds
  std::uint32_t action;
  std::int32_t at;  // the call with this number, or all of them when 0
  std::uint32_t count;
  std::uint32_t chance;  // of a thousand such calls so many; all of them when 0
};

constexpr std::size_t kPage = 4096;
constexpr int kMaxFd = 65536;

Plan* plan = nullptr;
std::array<std::atomic<bool>, kMaxFd> is_ours;

// A disk that takes its time for a flush, below a journal: what was written before a flush began is
// safe with its end, whoever asked for it.
std::array<std::atomic<std::int64_t>, kMaxFd> written_at;
std::atomic<std::int64_t> flushed_until = 0;

std::int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

[[gnu::constructor]] void map_plan() {
  const char* path = std::getenv("POSTERN_TEST_FAULTS");
  if (path == nullptr) return;
  const auto fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) plan = static_cast<Plan*>(page);
  ::close(fd);
}

bool counts(int fd) {
  return fd >= 0 && fd < kMaxFd && is_ours[static_cast<std::size_t>(fd)].load();
}

void remember(int fd, bool ours) {
  if (fd >= 0 && fd < kMaxFd) is_ours[static_cast<std::size_t>(fd)] = ours;
}

// What is to be done with this call; dies here when it is to be killed before it.
Action next(Call call) {
  if (plan == nullptr || (plan->calls & call) == 0) return kNone;
  const std::uint32_t number = std::atomic_ref(plan->count).fetch_add(1) + 1;
  if (plan->at != 0 && number != static_cast<std::uint32_t>(plan->at)) return kNone;
  // Spread over the numbers without a pattern that a caller's habits could meet (Knuth's
  // multiplier).
  if (plan->chance != 0 && (number * 2654435761U >> 8) % 1000 >= plan->chance) return kNone;
  if (plan->action == kKillBefore) ::kill(::getpid(), SIGKILL);
  return static_cast<Action>(plan->action);
}

void flush_slowly(int fd) {
  const std::int64_t begin = now();
  if (fd < 0 || fd >= kMaxFd || written_at[static_cast<std::size_t>(fd)] < flushed_until) return;
  ::usleep(static_cast<useconds_t>(plan->error) * 1000);
  std::int64_t before = flushed_until;
  while (before < begin && !flushed_until.compare_exchange_weak(before, begin)) {
  }
}

template <class Function, class... Arguments>
auto perform(Call call, Function* real, Arguments... arguments) {
  const Action action = next(call);
  if (action == kFail) {
    errno = plan->error;
    return decltype(real(arguments...))(-1);
  }
  const auto result = real(arguments...);
  if (action == kKillAfter) ::kill(::getpid(), SIGKILL);
  return result;
}

template <class Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

int open_at(const char* symbol, int dir, const char* path, int flags, mode_t mode) {
  using Real = int(int, const char*, int, ...);
  Real* const real = find<Real>(symbol);
  const bool is_created = (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0;
  const bool is_record = (flags & O_CREAT) == 0 && (flags & O_APPEND) != 0;
  const bool ours = is_created || is_record;
  if (!ours) {
    const int fd = real(dir, path, flags, mode);
    remember(fd, false);
    return fd;
  }
  const Action action = next(kOpen);
  if (action == kFail) {
    errno = plan->error;
    return -1;
  }
  const int fd = real(dir, path, flags, mode);
  remember(fd, true);
  if (action == kKillAfter) ::kill(::getpid(), SIGKILL);
  return fd;
}

}  // namespace

extern "C" {

int openat(int dir, const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at("openat", dir, path, flags, mode);
}

int openat64(int dir, const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at("openat64", dir, path, flags, mode);
}

int open(const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at("openat", AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at("openat64", AT_FDCWD, path, flags, mode);
}

ssize_t write(int fd, const void* data, std::size_t size) {
  static auto* const real = find<ssize_t(int, const void*, std::size_t)>("write");
  if (counts(fd)) written_at[static_cast<std::size_t>(fd)] = now();
  return counts(fd) ? perform(kWrite, real, fd, data, size) : real(fd, data, size);
}

ssize_t writev(int fd, const iovec* pieces, int count) {
  static auto* const real = find<ssize_t(int, const iovec*, int)>("writev");
  return counts(fd) ? perform(kWrite, real, fd, pieces, count) : real(fd, pieces, count);
}

int connect(int fd, const sockaddr* address, socklen_t size) {
  static auto* const real = find<int(int, const sockaddr*, socklen_t)>("connect");
  return perform(kConnect, real, fd, address, size);
}

ssize_t send(int fd, const void* data, std::size_t size, int flags) {
  static auto* const real = find<ssize_t(int, const void*, std::size_t, int)>("send");
  return perform(kSend, real, fd, data, size, flags);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static auto* const real = find<ssize_t(int, const msghdr*, int)>("sendmsg");
  return perform(kSend, real, fd, message, flags);
}

ssize_t recv(int fd, void* data, std::size_t size, int flags) {
  static auto* const real = find<ssize_t(int, void*, std::size_t, int)>("recv");
  return perform(kReceive, real, fd, data, size, flags);
}

// What the compiler makes of recv() where it knows the size of the buffer.
ssize_t __recv_chk(int fd, void* data, std::size_t size, std::size_t, int flags) {
  return recv(fd, data, size, flags);
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  static auto* const real = find<ssize_t(int, msghdr*, int)>("recvmsg");
  return perform(kReceive, real, fd, message, flags);
}

int fchmod(int fd, mode_t mode) noexcept {
  static auto* const real = find<int(int, mode_t)>("fchmod");
  return counts(fd) ? perform(kFchmod, real, fd, mode) : real(fd, mode);
}

int utimensat(int dir, const char* path, const timespec times[2], int flags) noexcept {
  static auto* const real = find<int(int, const char*, const timespec*, int)>("utimensat");
  return perform(kTimes, real, dir, path, times, flags);
}

int fsync(int fd) {
  static auto* const real = find<int(int)>("fsync");
  if (plan != nullptr && plan->action == kDelay) flush_slowly(fd);
  return perform(kFsync, real, fd);
}

int fdatasync(int fd) {
  static auto* const real = find<int(int)>("fdatasync");
  return perform(kFsync, real, fd);
}

int unlink(const char* path) noexcept {
  static auto* const real = find<int(const char*)>("unlink");
  return perform(kUnlink, real, path);
}

int unlinkat(int dir, const char* path, int flags) noexcept {
  static auto* const real = find<int(int, const char*, int)>("unlinkat");
  return perform(kUnlink, real, dir, path, flags);
}

int renameat(int from_dir, const char* from, int to_dir, const char* to) noexcept {
  static auto* const real = find<int(int, const char*, int, const char*)>("renameat");
  return perform(kRename, real, from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) noexcept {
  static auto* const real = find<int(int, const char*, int, const char*, unsigned)>("renameat2");
  return perform(kRename, real, from_dir, from, to_dir, to, flags);
}

ssize_t pwrite(int fd, const void* data, std::size_t size, off_t at) {
  static auto* const real = find<ssize_t(int, const void*, std::size_t, off_t)>("pwrite");
  return perform(kPwrite, real, fd, data, size, at);
}

ssize_t pwrite64(int fd, const void* data, std::size_t size, off64_t at) {
  static auto* const real = find<ssize_t(int, const void*, std::size_t, off64_t)>("pwrite64");
  return perform(kPwrite, real, fd, data, size, at);
}

pid_t fork() noexcept {
  static auto* const real = find<pid_t()>("fork");
  return perform(kFork, real);
}

int close(int fd) {
  static auto* const real = find<int(int)>("close");
  if (!counts(fd)) return real(fd);
  remember(fd, false);
  // As the kernel does it: the descriptor is gone, whatever close says.
  const Action action = next(kClose);
  const int result = real(fd);
  if (action == kKillAfter) ::kill(::getpid(), SIGKILL);
  if (action != kFail) return result;
  errno = plan->error;
  return -1;
}

}  // extern "C"
