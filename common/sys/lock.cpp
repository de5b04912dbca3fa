#include "common/sys/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

namespace postern::sys {

Result<std::optional<Fd>> try_lock_file(const std::string& path, mode_t mode) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode));
  if (!fd) return fail_errno(fmt::format("open {}", path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return std::nullopt;
  return fail_errno(fmt::format("lock {}", path));
}

Result<bool> is_file_locked(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return fail_errno(fmt::format("open {}", path));
  }
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return fail_errno(fmt::format("lock {}", path));
}

}  // namespace postern::sys
