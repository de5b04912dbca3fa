#include "common/agent/maildir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "common/sys/fd.h"

namespace postern::agent {

namespace {

constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;
MailboxResult failed(int error, std::string_view doing, std::string_view path) {
  return mailbox_failure(error, fmt::format("maildir delivery failed: {} {}: {}", doing, path,
                                            sys::errno_text(error)));
}

// "/" and ":" mean something in the names of Maildir files.
std::string safe_host(std::string_view host) {
  std::string safe;
  for (const char c : host) {
    if (c == '/' || c == ':') {
      safe += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    } else if (static_cast<unsigned char>(c) > 0x20 && c != 0x7f) {
      safe += c;
    }
  }
  return safe.empty() ? "localhost" : safe;
}

// A deliverer never forks once it delivers.
pid_t own_pid() {
  static const pid_t pid = ::getpid();
  return pid;
}

// Deliveries of one process at the same microsecond have different names.
unsigned next_delivery() {
  static std::atomic<unsigned> count = 0;
  return ++count;
}

// Flushes the record of a directory that was just made. 0 or an errno value.
int flush_made(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  std::string parent = slash == std::string::npos ? "." : path.substr(0, slash);
  if (parent.empty()) parent = "/";
  const sys::Fd dir(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir) return ::fsync(dir.get()) < 0 ? errno : 0;
  if (errno != EACCES) return errno;
  // Where we may make directories but not list them, only the whole file system can be flushed.
  const sys::Fd made(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return !made || ::syncfs(made.get()) < 0 ? errno : 0;
}

// Makes all of the path that is missing, to outlast a power cut. 0 or an errno value.
int make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), kDirectoryMode) == 0) {
      if (const int error = flush_made(part); error != 0) {
        ::rmdir(part.c_str());  // so that the next attempt does not take it for safe
        return error;
      }
    } else if (errno != EEXIST) {
      // Above a home directory we may not even ask; what counts is whether the whole is there.
      struct stat status{};
      const int error = errno;
      if (::stat(part.c_str(), &status) < 0 || !S_ISDIR(status.st_mode)) return error;
    }
    if (slash == std::string::npos) return 0;
  }
}

// Flushes the file system's record of the names in a directory. 0 or an errno value.
int flush_directory(const std::string& path) {
  const sys::Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) < 0) return errno;
  return 0;
}

// Where making a Maildir failed, if it did.
struct MakeFailure {
  int error = 0;
  std::string path{};
};

// tmp/ comes last, after the others are safe on the disk: as long as it is missing, another
// delivery to the same new mailbox comes here, too, and does not rely on them. Its own record needs
// no flush: a lost tmp/ holds no mail and is made again.
MakeFailure make_maildir(const std::string& path) {
  if (const int error = make_directories(path); error != 0) return {error, path};
  for (const std::string_view part : {"new", "cur"}) {
    const std::string directory = fmt::format("{}/{}", path, part);
    if (::mkdir(directory.c_str(), kDirectoryMode) < 0 && errno != EEXIST) {
      return {errno, directory};
    }
  }
  if (const int error = flush_directory(path); error != 0) return {error, path};
  const std::string tmp = path + "/tmp";
  if (::mkdir(tmp.c_str(), kDirectoryMode) < 0 && errno != EEXIST) return {errno, tmp};
  return {};
}

int rename_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::link(from.c_str(), to.c_str()) < 0) return errno;
  ::unlink(from.c_str());
  return 0;
}

sys::Fd create(const std::string& path) {
  return sys::Fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
}

}  // namespace

std::string maildir_name(std::int64_t seconds, std::int64_t microseconds, std::uint64_t device,
                         std::uint64_t inode, std::string_view host) {
  return fmt::format("{}.V{:x}I{:x}M{}.{}", seconds, device, inode, microseconds, safe_host(host));
}

MaildirDelivery::MaildirDelivery(MaildirRequest request) : request_(std::move(request)) {
  while (request_.path.size() > 1 && request_.path.ends_with('/')) request_.path.pop_back();
}

MaildirDelivery::~MaildirDelivery() {
  if (!leftover_.empty()) ::unlink(leftover_.c_str());
}

std::optional<MailboxResult> MaildirDelivery::write(const MailboxMessage& message) {
  const std::string& path = request_.path;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  seconds_ = now.tv_sec;
  microseconds_ = now.tv_nsec / 1000;
  const std::string name = fmt::format("{}/tmp/{}.P{}Q{}M{}.{}", path, seconds_, own_pid(),
                                       next_delivery(), microseconds_, safe_host(request_.host));
  file_ = create(name);
  if (!file_ && errno == ENOENT) {
    if (const MakeFailure failure = make_maildir(path); failure.error != 0) {
      return failed(failure.error, "create", failure.path);
    }
    file_ = create(name);
  }
  if (!file_) return failed(errno, "create maildir file", name);
  leftover_ = name;

  const int error = copy_message(message, file_.get(), FromQuoting::kNone, request_.limit);
  if (error == ENODATA) return failed(error, "read message for", name);
  if (error == EFBIG) {
    return mailbox_failure(error, fmt::format("maildir delivery failed: error writing message: {}",
                                              sys::errno_text(error)));
  }
  if (error != 0) return failed(error, "error writing message", name);
  return std::nullopt;
}

std::optional<MailboxResult> MaildirDelivery::publish(int flush_error) {
  if (flush_error != 0) return failed(flush_error, "flush", leftover_);
  struct stat status{};
  if (::fstat(file_.get(), &status) < 0) return failed(errno, "stat", leftover_);
  if (::close(file_.release()) < 0 && errno != EINTR) return failed(errno, "close", leftover_);
  const std::string name = fmt::format(
      "{}/new/{}", request_.path,
      maildir_name(seconds_, microseconds_, status.st_dev, status.st_ino, request_.host));
  const int error = rename_new(leftover_, name);
  if (error != 0) return failed(error, "rename to", name);
  leftover_ = name;
  return std::nullopt;
}

int MaildirDelivery::flush_new() const { return flush_directory(request_.path + "/new"); }

MailboxResult MaildirDelivery::finish(int flush_error) {
  if (flush_error != 0) return failed(flush_error, "flush", request_.path + "/new");
  return {.outcome = MailboxOutcome::kDelivered,
          .status = "2.0.0",
          .text = "delivered to maildir",
          .path = std::exchange(leftover_, {})};
}

MailboxResult deliver_to_maildir(const MailboxMessage& message, const MaildirRequest& request) {
  MaildirDelivery delivery(request);
  if (auto failure = delivery.write(message)) return *std::move(failure);
  const int flush_error = ::fsync(delivery.fd()) < 0 ? errno : 0;
  if (auto failure = delivery.publish(flush_error)) return *std::move(failure);
  return delivery.finish(delivery.flush_new());
}

}  // namespace postern::agent
