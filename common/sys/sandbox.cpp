#include "common/sys/sandbox.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>

// The sanitizers' own threads and files are not ours to forbid.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || \
    __has_feature(thread_sanitizer)
#define POSTERN_IS_SANITIZED 1
#endif
#endif
#ifndef POSTERN_IS_SANITIZED
#define POSTERN_IS_SANITIZED 0
#endif

namespace postern::sys {

namespace {

// --- Landlock: the numbers that Debian 12's headers do not have yet (landlock(7)) ---

constexpr std::uint64_t kTruncate = 1ULL << 14;      // version 3
constexpr std::uint64_t kNetBind = 1ULL << 0;        // version 4
constexpr std::uint64_t kNetConnect = 1ULL << 1;     // version 4
constexpr std::uint64_t kDeviceIoctl = 1ULL << 15;   // version 5
constexpr std::uint64_t kScopeAbstract = 1ULL << 0;  // version 6
constexpr std::uint64_t kScopeSignal = 1ULL << 1;    // version 6
constexpr int kHasRefer = 2;
constexpr int kHasTruncate = 3;
constexpr int kHasNet = 4;
constexpr int kHasDeviceIoctl = 5;
constexpr int kHasScopes = 6;

struct RulesetAttributes {
  std::uint64_t files = 0;
  std::uint64_t net = 0;
  std::uint64_t scoped = 0;
};

constexpr int kRuleNetPort = 2;  // version 4
struct NetPortRule {
  std::uint64_t access = 0;
  std::uint64_t port = 0;
};

constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t kChangeFile = LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t kReadTree = kReadFile | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kChangeTree =
    kReadTree | kChangeFile | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR;
constexpr std::uint64_t kAll = kChangeTree | LANDLOCK_ACCESS_FS_EXECUTE |
                               LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                               LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

// Local times are asked for in log lines and headers; the C library looks whether they changed.
constexpr std::string_view kZones[] = {"/etc/localtime", "/usr/share/zoneinfo"};

int landlock_version() {
  const auto version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version < 0 ? 0 : static_cast<int>(version);
}

std::uint64_t handled_files(int version) {
  std::uint64_t all = kAll;
  if (version >= kHasRefer) all |= LANDLOCK_ACCESS_FS_REFER;
  if (version >= kHasTruncate) all |= kTruncate;
  if (version >= kHasDeviceIoctl) all |= kDeviceIoctl;
  return all;
}

Result<void> allow(int ruleset, const std::string& path, bool may_change, std::uint64_t handled) {
  const Fd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd) {
    // Not there; or a file system whose server or program is not.
    constexpr int kAway[] = {ENOENT, ENOTDIR, EACCES, ESTALE, ENOTCONN, EIO, EHOSTDOWN, ETIMEDOUT};
    if (std::ranges::find(kAway, errno) != std::end(kAway)) return {};
    return fail_errno(fmt::format("open {}", path));
  }
  // A server that does not answer must not hold us: the kind is known without it.
  struct statx found{};
  if (::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &found) < 0) {
    return fail_errno(fmt::format("statx {}", path));
  }
  std::uint64_t access = may_change ? kReadFile | kChangeFile | kTruncate : kReadFile;
  if (S_ISDIR(found.stx_mode)) {
    access = may_change ? kChangeTree | kTruncate | LANDLOCK_ACCESS_FS_REFER : kReadTree;
  }
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access & handled;
  rule.parent_fd = fd.get();
  if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0) {
    return fail_errno(fmt::format("Landlock rule for {}", path));
  }
  return {};
}

// An address of its own, with whatever port the kernel gives: smtp_bind_address.
Result<void> allow_source_address(int ruleset) {
  const NetPortRule rule{.access = kNetBind, .port = 0};
  if (::syscall(SYS_landlock_add_rule, ruleset, kRuleNetPort, &rule, 0) < 0) {
    return fail_errno("Landlock rule for source addresses");
  }
  return {};
}

// --- seccomp ---

// To compute, to wait, and to use descriptors that are there.
constexpr const char* kAlways[] = {"accept4",
                                   "arch_prctl",
                                   "brk",
                                   "clock_getres",
                                   "clock_gettime",
                                   "clock_nanosleep",
                                   "close",
                                   "close_range",
                                   "copy_file_range",
                                   "dup",
                                   "dup2",
                                   "dup3",
                                   "epoll_create1",
                                   "epoll_ctl",
                                   "epoll_pwait",
                                   "epoll_pwait2",
                                   "epoll_wait",
                                   "eventfd2",
                                   "exit",
                                   "exit_group",
                                   "fadvise64",
                                   "fcntl",
                                   "flock",
                                   "fstat",
                                   "futex",
                                   "get_robust_list",
                                   "getcpu",
                                   "getegid",
                                   "geteuid",
                                   "getgid",
                                   "getgroups",
                                   "getpeername",
                                   "getpgrp",
                                   "getpid",
                                   "getppid",
                                   "getrandom",
                                   "getresgid",
                                   "getresuid",
                                   "getrlimit",
                                   "getrusage",
                                   "getsockname",
                                   "getsockopt",
                                   "gettid",
                                   "gettimeofday",
                                   "getuid",
                                   "lseek",
                                   "madvise",
                                   "membarrier",
                                   "memfd_create",
                                   "mlock",
                                   "mlock2",
                                   "mremap",
                                   "munlock",
                                   "munmap",
                                   "nanosleep",
                                   "pipe2",
                                   "poll",
                                   "ppoll",
                                   "prctl",
                                   "prlimit64",
                                   "pread64",
                                   "preadv",
                                   "preadv2",
                                   "pwrite64",
                                   "pwritev",
                                   "pwritev2",
                                   "read",
                                   "readv",
                                   "recvfrom",
                                   "recvmmsg",
                                   "recvmsg",
                                   "restart_syscall",
                                   "rseq",
                                   "rt_sigaction",
                                   "rt_sigpending",
                                   "rt_sigprocmask",
                                   "rt_sigreturn",
                                   "rt_sigtimedwait",
                                   "sched_getaffinity",
                                   "sched_getparam",
                                   "sched_getscheduler",
                                   "sched_yield",
                                   "select",
                                   "sendfile",
                                   "sendmmsg",
                                   "sendmsg",
                                   "sendto",
                                   "set_robust_list",
                                   "set_tid_address",
                                   "setsockopt",
                                   "shutdown",
                                   "sigaltstack",
                                   "signalfd4",
                                   "socketpair",
                                   "splice",
                                   "sysinfo",
                                   "time",
                                   "timerfd_create",
                                   "timerfd_gettime",
                                   "timerfd_settime",
                                   "times",
                                   "uname",
                                   "write",
                                   "writev"};
// What files are found and read with.
constexpr const char* kToOpen[] = {"access",
                                   "faccessat",
                                   "faccessat2",
                                   "fstatfs",
                                   "getcwd",
                                   "getdents64",
                                   "inotify_add_watch",
                                   "inotify_init1",
                                   "inotify_rm_watch",
                                   "lstat",
                                   "open",
                                   "openat",
                                   "openat2",
                                   "readlink",
                                   "readlinkat",
                                   "stat",
                                   "statfs",
                                   "statx",
                                   "chdir",
                                   "fchdir"};
constexpr const char* kToChange[] = {
    "creat",           "fallocate", "fchmod",    "fchmodat",  "fchown", "fchownat", "fdatasync",
    "fsync",           "ftruncate", "futimesat", "link",      "linkat", "mkdir",    "mkdirat",
    "msync",           "rename",    "renameat",  "renameat2", "rmdir",  "symlink",  "symlinkat",
    "sync_file_range", "syncfs",    "truncate",  "umask",     "unlink", "unlinkat", "utime",
    "utimensat",       "utimes",    "chmod",     "chown",     "lchown"};

// No work for a command that delivers mail, whatever rights it has.
constexpr const char* kSystemChanges[] = {"acct",
                                          "clock_settime",
                                          "delete_module",
                                          "finit_module",
                                          "fsconfig",
                                          "fsmount",
                                          "fsopen",
                                          "fspick",
                                          "init_module",
                                          "ioperm",
                                          "iopl",
                                          "kcmp",
                                          "kexec_file_load",
                                          "kexec_load",
                                          "mount",
                                          "mount_setattr",
                                          "move_mount",
                                          "open_by_handle_at",
                                          "open_tree",
                                          "pidfd_getfd",
                                          "pivot_root",
                                          "process_madvise",
                                          "process_vm_readv",
                                          "process_vm_writev",
                                          "ptrace",
                                          "quotactl",
                                          "quotactl_fd",
                                          "reboot",
                                          "settimeofday",
                                          "swapoff",
                                          "swapon",
                                          "syslog",
                                          "umount",
                                          "umount2",
                                          "vhangup"};
// Programs that try these can do without.
constexpr const char* kRarelyNeeded[] = {
    "add_key",        "bpf",    "io_uring_enter",  "io_uring_register",
    "io_uring_setup", "keyctl", "perf_event_open", "request_key",
    "userfaultfd",    "uselib"};

bool has(std::uint8_t calls, Calls group) { return (calls & static_cast<unsigned>(group)) != 0; }

// What is neither allowed nor refused ends the process in a debug build, so that a test tells of
// it.
#ifdef NDEBUG
constexpr bool kEndsProcess = false;
#else
constexpr bool kEndsProcess = true;
#endif
constexpr std::uint32_t kRefused = SCMP_ACT_ERRNO(EPERM);

using Conditions = std::span<const scmp_arg_cmp>;

class Filter {
 public:
  explicit Filter(std::uint32_t otherwise) : filter_(::seccomp_init(otherwise)) {}

  // Programs for the processor's other modes are judged alike; those for others pass.
  void cover_all_modes() {
    if (filter_ == nullptr) return;
    if (::seccomp_arch_native() == SCMP_ARCH_X86_64) {
      for (const auto mode : {std::uint32_t{SCMP_ARCH_X86}, std::uint32_t{SCMP_ARCH_X32}}) {
        if (error_ == 0) error_ = ::seccomp_arch_add(filter_.get(), mode);
      }
    }
    if (error_ == 0) {
      error_ = ::seccomp_attr_set(filter_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
    }
  }

  void allow(const char* name, Conditions conditions = {}) {
    add(SCMP_ACT_ALLOW, name, conditions);
  }
  // For what libraries try, and can do without.
  void refuse(const char* name, Conditions conditions = {}) {
    if (kEndsProcess) add(kRefused, name, conditions);
  }
  void deny_as_unknown(const char* name) { add(SCMP_ACT_ERRNO(ENOSYS), name, {}); }
  void deny(const char* name) { add(kRefused, name, {}); }

  [[nodiscard]] Result<void> load() {
    if (filter_ == nullptr) return fail_temporary("seccomp: no memory for a filter");
    if (error_ == 0) error_ = ::seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_NNP, 0);
    // A tree of numbers instead of a list: a few comparisons per call.
    if (error_ == 0) error_ = ::seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (error_ == 0) error_ = ::seccomp_load(filter_.get());
    if (error_ != 0) return fail_errno("seccomp", -error_);
    return {};
  }

 private:
  void add(std::uint32_t action, const char* name, Conditions conditions) {
    if (filter_ == nullptr || error_ != 0) return;
    const int number = ::seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) return;
    const int status = ::seccomp_rule_add_array(
        filter_.get(), action, number, static_cast<unsigned>(conditions.size()), conditions.data());
    // One that this architecture does not have needs no rule.
    if (status != 0 && status != -EDOM && status != -EEXIST) error_ = status;
  }

  struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
  };
  std::unique_ptr<void, Release> filter_;
  int error_ = 0;
};

constexpr scmp_arg_cmp is_equal(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
constexpr scmp_arg_cmp has_bits(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

void allow_files(Filter& filter, std::uint8_t calls) {
  if (has(calls, Calls::kOpen)) {
    for (const char* const name : kToOpen) filter.allow(name);
    filter.allow("newfstatat");
  } else {
    for (const char* const name : kToOpen) filter.refuse(name);
    // fstat(2), as the C library has it.
    const scmp_arg_cmp of_descriptor[] = {has_bits(3, AT_EMPTY_PATH, AT_EMPTY_PATH)};
    const scmp_arg_cmp of_path[] = {has_bits(3, AT_EMPTY_PATH, 0)};
    filter.allow("newfstatat", of_descriptor);
    filter.refuse("newfstatat", of_path);
  }
  if (!has(calls, Calls::kChange)) return;
  for (const char* const name : kToChange) filter.allow(name);
}

void allow_memory(Filter& filter, std::uint8_t calls) {
  const scmp_arg_cmp no_code[] = {has_bits(2, PROT_EXEC, 0)};
  const Conditions conditions = has(calls, Calls::kMakeCode) ? Conditions() : Conditions(no_code);
  filter.allow("mmap", conditions);
  filter.allow("mprotect", conditions);
}

void allow_sockets(Filter& filter, std::uint8_t calls) {
  const auto allow_family = [&filter](int family) {
    const scmp_arg_cmp condition[] = {is_equal(0, static_cast<std::uint64_t>(family))};
    filter.allow("socket", condition);
  };
  if (has(calls, Calls::kNeighbours)) allow_family(AF_UNIX);
  if (has(calls, Calls::kInternet)) {
    for (const int family : {AF_INET, AF_INET6, AF_NETLINK}) allow_family(family);
    filter.allow("bind");
  }
  if (has(calls, Calls::kNeighbours) || has(calls, Calls::kInternet)) filter.allow("connect");
}

void allow_own_threads(Filter& filter) {
  const scmp_arg_cmp thread[] = {has_bits(0, CLONE_THREAD, CLONE_THREAD)};
  filter.allow("clone", thread);
  // Its flags are out of a filter's sight; the C library falls back to clone.
  filter.deny_as_unknown("clone3");
  const scmp_arg_cmp own[] = {is_equal(0, static_cast<std::uint64_t>(::getpid()))};
  for (const char* const name : {"kill", "tgkill"}) filter.allow(name, own);
}

Result<void> confine_calls(std::uint8_t calls) {
  if constexpr (POSTERN_IS_SANITIZED != 0) return {};
  Filter filter(kEndsProcess ? SCMP_ACT_KILL_PROCESS : kRefused);
  for (const char* const name : kAlways) filter.allow(name);
  allow_files(filter, calls);
  allow_memory(filter, calls);
  allow_sockets(filter, calls);
  allow_own_threads(filter);
  for (const int request : {FIONREAD, FIONBIO, TCGETS}) {
    const scmp_arg_cmp condition[] = {is_equal(1, static_cast<std::uint64_t>(request))};
    filter.allow("ioctl", condition);
  }
  return filter.load();
}

}  // namespace

SandboxMeans sandbox_means() {
  SandboxMeans means;
  means.landlock = landlock_version();
  means.has_seccomp = ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
  return means;
}

Result<Sandbox> Sandbox::prepare(const SandboxSpec& spec) {
  Sandbox sandbox;
  sandbox.calls_ = spec.calls;
  const int version = landlock_version();
  if (version == 0) return sandbox;
  RulesetAttributes attributes;
  attributes.files = handled_files(version);
  const bool is_local = (spec.calls & static_cast<unsigned>(Calls::kInternet)) == 0;
  if (version >= kHasNet) attributes.net = kNetBind | (is_local ? kNetConnect : 0);
  if (version >= kHasScopes) attributes.scoped = kScopeAbstract | kScopeSignal;
  // An older kernel takes the attributes that it knows.
  const std::size_t size = version >= kHasScopes ? sizeof attributes
                           : version >= kHasNet  ? offsetof(RulesetAttributes, scoped)
                                                 : offsetof(RulesetAttributes, net);
  sandbox.ruleset_ =
      Fd(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, size, 0)));
  if (!sandbox.ruleset_) return fail_errno("Landlock ruleset");
  for (const auto& rule : spec.files) {
    DO(allow(sandbox.ruleset_.get(), rule.path, rule.may_change, attributes.files));
  }
  if (version >= kHasNet && !is_local) DO(allow_source_address(sandbox.ruleset_.get()));
  for (const auto zone : kZones) {
    DO(allow(sandbox.ruleset_.get(), std::string(zone), false, attributes.files));
  }
  return sandbox;
}

Result<void> Sandbox::enforce() const {
  if (ruleset_ && ::syscall(SYS_landlock_restrict_self, ruleset_.get(), 0) < 0) {
    return fail_errno("Landlock");
  }
  return confine_calls(calls_);
}

Result<void> forbid_system_changes() {
  if constexpr (POSTERN_IS_SANITIZED != 0) return {};
  Filter filter(SCMP_ACT_ALLOW);
  filter.cover_all_modes();
  for (const char* const name : kSystemChanges) filter.deny(name);
  for (const char* const name : kRarelyNeeded) filter.deny_as_unknown(name);
  return filter.load();
}

Result<Fd> make_empty_network() {
  const char* const path = "/proc/self/ns/net";
  const Fd own(::open(path, O_RDONLY | O_CLOEXEC));
  if (!own) return fail_errno(fmt::format("open {}", path));
  if (::unshare(CLONE_NEWNET) < 0) return fail_errno("network namespace");
  Fd made(::open(path, O_RDONLY | O_CLOEXEC));
  const int error = errno;
  if (::setns(own.get(), CLONE_NEWNET) < 0) return fail_errno("return to the own network");
  if (!made) return fail_errno(fmt::format("open {}", path), error);
  return made;
}

}  // namespace postern::sys
