#include "common/agent/maildir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "common/sys/fd.h"

namespace postern::agent {

namespace {

constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;
constexpr std::string_view kParts[] = {"tmp", "new", "cur"};

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

// Makes all of the path that is missing. 0 or an errno value.
int make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), kDirectoryMode) < 0 && errno != EEXIST) {
      // Above a home directory we may not even ask; what counts is whether the whole is there.
      struct stat status{};
      const int error = errno;
      if (::stat(part.c_str(), &status) < 0 || !S_ISDIR(status.st_mode)) return error;
    }
    if (slash == std::string::npos) return 0;
  }
}

// Flushes the file system's record of the names in an open directory. 0 or an errno value.
int flush_directory(int maildir, const char* name) {
  const sys::Fd dir(::openat(maildir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) < 0) return errno;
  return 0;
}

int rename_new(int maildir, const std::string& from, const std::string& to) {
  if (::renameat2(maildir, from.c_str(), maildir, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::linkat(maildir, from.c_str(), maildir, to.c_str(), 0) < 0) return errno;
  ::unlinkat(maildir, from.c_str(), 0);
  return 0;
}

// Removes a file of the Maildir unless it was kept.
class Leftover {
 public:
  Leftover(int maildir, std::string name) : maildir_(maildir), name_(std::move(name)) {}
  Leftover(const Leftover&) = delete;
  Leftover& operator=(const Leftover&) = delete;
  ~Leftover() {
    if (!name_.empty()) ::unlinkat(maildir_, name_.c_str(), 0);
  }
  void renamed(std::string name) { name_ = std::move(name); }
  void keep() { name_.clear(); }

 private:
  int maildir_;
  std::string name_;
};

struct Opened {
  sys::Fd maildir{};
  sys::Fd file{};
  int error = 0;
};

Opened open_tmp(const std::string& path, const std::string& name) {
  Opened opened;
  opened.maildir.reset(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (opened.maildir) {
    opened.file.reset(::openat(opened.maildir.get(), name.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  }
  opened.error = opened.file ? 0 : errno;
  return opened;
}

}  // namespace

std::string maildir_name(std::int64_t seconds, std::int64_t microseconds, std::uint64_t device,
                         std::uint64_t inode, std::string_view host) {
  return fmt::format("{}.V{:x}I{:x}M{}.{}", seconds, device, inode, microseconds, safe_host(host));
}

MailboxResult deliver_to_maildir(const MailboxMessage& message, const MaildirRequest& request) {
  std::string path = request.path;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::int64_t microseconds = now.tv_nsec / 1000;
  const std::string tmp_name = fmt::format("tmp/{}.P{}M{}.{}", now.tv_sec, ::getpid(), microseconds,
                                           safe_host(request.host));
  const std::string shown = fmt::format("{}/{}", path, tmp_name);

  Opened opened = open_tmp(path, tmp_name);
  if (opened.error == ENOENT) {
    for (const std::string_view part : kParts) {
      const std::string directory = fmt::format("{}/{}", path, part);
      if (const int error = make_directories(directory); error != 0) {
        return failed(error, "create", directory);
      }
    }
    opened = open_tmp(path, tmp_name);
  }
  if (opened.error != 0) return failed(opened.error, "create maildir file", shown);
  const int maildir = opened.maildir.get();
  Leftover leftover(maildir, tmp_name);

  int error = copy_message(message, opened.file.get(), FromQuoting::kNone, request.limit);
  if (error == ENODATA) return failed(error, "read message for", shown);
  if (error == EFBIG) {
    return mailbox_failure(error, fmt::format("maildir delivery failed: error writing message: {}",
                                              sys::errno_text(error)));
  }
  if (error != 0) return failed(error, "error writing message", shown);
  struct stat status{};
  if (::fstat(opened.file.get(), &status) < 0) return failed(errno, "stat", shown);
  if (::fsync(opened.file.get()) < 0) return failed(errno, "flush", shown);
  if (::close(opened.file.release()) < 0 && errno != EINTR) return failed(errno, "close", shown);

  const std::string name =
      maildir_name(now.tv_sec, microseconds, status.st_dev, status.st_ino, request.host);
  const std::string new_name = "new/" + name;
  error = rename_new(maildir, tmp_name, new_name);
  if (error != 0) return failed(error, "rename to", fmt::format("{}/{}", path, new_name));
  leftover.renamed(new_name);
  error = flush_directory(maildir, "new");
  if (error != 0) return failed(error, "flush", path + "/new");
  leftover.keep();
  return {.outcome = MailboxOutcome::kDelivered,
          .status = "2.0.0",
          .text = "delivered to maildir",
          .path = fmt::format("{}/{}", path, new_name)};
}

}  // namespace postern::agent
