#include "common/agent/mbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <thread>

#include "common/base/text.h"
#include "common/sys/fd.h"

namespace postern::agent {

namespace {

constexpr mode_t kFileMode = 0600;
constexpr unsigned kReopenTries = 5;

// An operation that failed: errno for what it means, text for the reader.
struct Failure {
  int error = 0;
  std::string text{};
};

MailboxResult failed(const MboxRequest& request, const Failure& failure) {
  return mailbox_failure(failure.error, request.failure_prefix + failure.text);
}

// Before anything was written.
MailboxResult not_opened(const MboxRequest& request, const Failure& failure) {
  MailboxResult result = failed(request, failure);
  if (request.open_failures_defer && result.outcome == MailboxOutcome::kBounced) {
    result.outcome = MailboxOutcome::kDeferred;
    result.status = "4.2.0";
  }
  return result;
}

Failure failure(int error, std::string_view doing) {
  return {error, fmt::format("{}: {}", doing, sys::errno_text(error))};
}

// Tries until it does not say EAGAIN or EEXIST any more. 0 or an errno value.
int keep_trying(const MboxLocks& locks, const std::function<int()>& attempt) {
  for (unsigned tries = 1;; ++tries) {
    const int error = attempt();
    if (error != EAGAIN && error != EEXIST) return error;
    if (tries >= locks.attempts) return error;
    std::this_thread::sleep_for(locks.delay);
  }
}

// FILE.lock for as long as the object lives.
class DotLock {
 public:
  DotLock() = default;
  DotLock(const DotLock&) = delete;
  DotLock& operator=(const DotLock&) = delete;
  ~DotLock() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  [[nodiscard]] int take(const std::string& path, const MboxLocks& locks) {
    const int error = keep_trying(locks, [&] { return attempt(path, locks); });
    if (error == 0) path_ = path;
    return error;
  }

 private:
  static int attempt(const std::string& path, const MboxLocks& locks) {
    const sys::Fd fd(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
    if (fd) {
      const std::string pid = fmt::format("{}\n", ::getpid());  // for whoever wonders
      const int error = write_bytes(fd.get(), pid);
      if (error != 0) ::unlink(path.c_str());
      return error;
    }
    if (errno != EEXIST) return errno;
    struct stat status{};
    if (::lstat(path.c_str(), &status) < 0) return errno == ENOENT ? EAGAIN : errno;
    const std::chrono::seconds age(::time(nullptr) - status.st_mtim.tv_sec);
    if (age > locks.stale_after && ::unlink(path.c_str()) == 0) return EAGAIN;
    return EEXIST;
  }

  std::string path_;
};

struct OpenedFile {
  sys::Fd fd{};
  struct stat status{};
  Failure failure{};  // error != 0: not opened
};

bool is_link_of_root(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode) && status.st_uid == 0;
}

OpenedFile open_file(const MboxRequest& request) {
  OpenedFile opened;
  const char* const path = request.path.c_str();
  constexpr int kFlags = O_RDWR | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  opened.fd.reset(::open(path, kFlags | O_NOFOLLOW));
  std::string doing = "cannot open file";
  if (!opened.fd && errno == ELOOP) {
    if (is_link_of_root(request.path)) {
      opened.fd.reset(::open(path, kFlags));
    } else {
      opened.failure = {EACCES, "cannot open file: it is a symbolic link"};
      if (request.allow_device) opened.failure = {ELOOP, "file is a symbolic link"};
      return opened;
    }
  } else if (!opened.fd && errno == ENOENT) {
    doing = "cannot create file exclusively";
    opened.fd.reset(::open(path, kFlags | O_NOFOLLOW | O_CREAT | O_EXCL, kFileMode));
    // Its directory is not there: the lock is what would fail first.
    if (!opened.fd && errno == ENOENT && request.locks.dotlock && !request.allow_device) {
      doing = fmt::format("unable to create lock file {}.lock", request.path);
      errno = ENOENT;
    }
  }
  if (!opened.fd) {
    // A device or FIFO without a reader says ENXIO. A file that an alias names and that its owner
    // may not write to stays so.
    opened.failure = failure(errno, doing);
    if (request.allow_device && opened.failure.error == EACCES) opened.failure.error = ELOOP;
    return opened;
  }
  if (::fstat(opened.fd.get(), &opened.status) < 0) opened.failure = failure(errno, "stat");
  return opened;
}

Failure check_file(const MboxRequest& request, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) {
    if (request.allow_device && S_ISCHR(status.st_mode)) return {};
    return {EACCES, "not a regular file"};
  }
  // Somebody meant a command, and forgot the bar in front of it.
  if (request.allow_device && (status.st_mode & 0111) != 0) return {ENOEXEC, "file is executable"};
  if (status.st_nlink != 1) {
    return {EACCES, fmt::format("file has {} hard links", status.st_nlink)};
  }
  if (request.owner && status.st_uid != *request.owner) {
    return {EACCES, fmt::format("destination {} is not owned by recipient", request.path)};
  }
  return {};
}

Failure lock_file(int fd, const MboxLocks& locks) {
  constexpr std::string_view kDoing = "unable to lock for exclusive access";
  if (locks.fcntl) {
    const int error = keep_trying(locks, [fd] {
      struct flock lock{};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      if (::fcntl(fd, F_SETLK, &lock) == 0) return 0;
      return errno == EACCES || errno == EINTR ? EAGAIN : errno;
    });
    if (error != 0) return failure(error, kDoing);
  }
  if (locks.flock) {
    const int error = keep_trying(locks, [fd] {
      if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
      return errno == EINTR ? EAGAIN : errno;
    });
    if (error != 0) return failure(error, kDoing);
  }
  return {};
}

// Opens and locks, until the locked file is the one that bears the name: a mail reader may have
// put a new one in its place while we waited for the lock.
OpenedFile open_locked(const MboxRequest& request) {
  for (unsigned tries = 0; tries < kReopenTries; ++tries) {
    OpenedFile opened = open_file(request);
    if (opened.failure.error == 0) opened.failure = check_file(request, opened.status);
    if (opened.failure.error != 0 || !S_ISREG(opened.status.st_mode)) return opened;
    opened.failure = lock_file(opened.fd.get(), request.locks);
    if (opened.failure.error != 0) return opened;

    struct stat named{};
    if (::stat(request.path.c_str(), &named) == 0 && named.st_dev == opened.status.st_dev &&
        named.st_ino == opened.status.st_ino) {
      // Its length may have changed until the lock was ours.
      if (::fstat(opened.fd.get(), &opened.status) < 0) opened.failure = failure(errno, "stat");
      return opened;
    }
  }
  OpenedFile opened;
  opened.failure = {EAGAIN, "mailbox file is replaced again and again"};
  return opened;
}

int write_message(const MailboxMessage& message, const MboxRequest& request, int fd,
                  std::uint64_t size_before) {
  std::string from = from_line(request.sender, ::time(nullptr));
  if (size_before > 0) {
    // What a crash left of an earlier message must not swallow this one.
    char last = '\n';
    const ssize_t n = ::pread(fd, &last, 1, static_cast<off_t>(size_before - 1));
    if (n < 0) return errno;
    if (n == 1 && last != '\n') from.insert(0, "\n\n");
  }
  std::uint64_t room = 0;
  if (request.limit != 0) {
    if (size_before + from.size() >= request.limit) return EFBIG;
    room = request.limit - size_before - from.size();
  }
  if (const int error = write_bytes(fd, from); error != 0) return error;
  return copy_message(message, fd, FromQuoting::kMbox, room);
}

}  // namespace

Result<MboxLocks> parse_mailbox_locks(std::string_view list) {
  MboxLocks locks{.dotlock = false, .fcntl = false};
  for (const std::string_view word : split_words(list)) {
    if (word == "dotlock") {
      locks.dotlock = true;
    } else if (word == "fcntl") {
      locks.fcntl = true;
    } else if (word == "flock") {
      locks.flock = true;
    } else {
      return fail(Error::Kind::kConfig, fmt::format("unknown lock method: {}", word));
    }
  }
  return locks;
}

std::string from_line(std::string_view sender, std::int64_t seconds) {
  std::string shown(sender.empty() ? "MAILER-DAEMON" : sender);
  for (char& c : shown) {
    if (is_control(c)) c = '?';
  }
  const auto time = static_cast<time_t>(seconds);
  struct tm local{};
  ::localtime_r(&time, &local);
  constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("From {}  {} {} {:2} {:02}:{:02}:{:02} {}\n", shown, kDays[local.tm_wday],
                     kMonths[local.tm_mon], local.tm_mday, local.tm_hour, local.tm_min,
                     local.tm_sec, local.tm_year + 1900);
}

MailboxResult deliver_to_mbox(const MailboxMessage& message, const MboxRequest& request) {
  std::string warning;
  DotLock dot_lock;
  struct stat named{};
  const bool is_special = ::stat(request.path.c_str(), &named) == 0 && !S_ISREG(named.st_mode);
  if (request.locks.dotlock && !is_special) {
    const std::string lock_path = request.path + ".lock";
    const int error = dot_lock.take(lock_path, request.locks);
    if (error == EEXIST || error == EAGAIN) {
      return not_opened(request, failure(error, "unable to create lock file " + lock_path));
    }
    if (error == EACCES || error == EPERM || error == EROFS) {
      // The recipient may not write to the directory; then no mail reader of his can, either.
      warning = fmt::format("cannot create lock file {}: {}", lock_path, sys::errno_text(error));
    } else if (error != 0 && error != ENOENT && error != ENOTDIR) {
      return not_opened(request, failure(error, "unable to create lock file " + lock_path));
    }
  }

  OpenedFile opened = open_locked(request);
  if (opened.failure.error != 0) {
    MailboxResult result = not_opened(request, opened.failure);
    if (request.allow_device && opened.failure.error == ENOEXEC) {
      result.outcome = MailboxOutcome::kBounced;
      result.status = "5.7.1";
    }
    return result;
  }
  const int fd = opened.fd.get();
  const bool is_regular = S_ISREG(opened.status.st_mode);
  const auto size_before = is_regular ? static_cast<std::uint64_t>(opened.status.st_size) : 0;

  int error = write_message(message, request, fd, size_before);
  Failure trouble = error == ENODATA ? Failure{error, "error reading message"}
                    : error != 0     ? failure(error, "error writing message")
                                     : Failure{};
  if (error == 0 && is_regular && ::fsync(fd) < 0)
    trouble = failure(errno, "error writing message");
  if (trouble.error != 0) {
    if (is_regular && ::ftruncate(fd, static_cast<off_t>(size_before)) < 0) {
      warning = fmt::format("cannot cut {} back to {} bytes: {}", request.path, size_before,
                            sys::errno_text(errno));
    }
    MailboxResult result = failed(request, trouble);
    result.warning = std::move(warning);
    return result;
  }
  // fsync has said all that close could say; closing releases the kernel's locks.
  opened.fd.reset();
  return {.outcome = MailboxOutcome::kDelivered,
          .status = "2.0.0",
          .text = request.success_text,
          .warning = std::move(warning),
          .offset = size_before};
}

}  // namespace postern::agent
