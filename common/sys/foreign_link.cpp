#include "common/sys/foreign_link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace postern::sys {

namespace {

constexpr unsigned kMaxLinks = 8;
// What stands there is no path: "pipe:[4711]".
constexpr std::string_view kMagic = "/proc/";

// With errno as it was.
std::unexpected<Error> not_opened(const std::string& path) {
  const int error = errno;
  auto failure = fail_errno(fmt::format("open {}", path), error);
  errno = error;
  return failure;
}

}  // namespace

Result<Fd> open_but_foreign_link(std::string path, int flags) {
  const std::string named = path;
  for (unsigned i = 0; i < kMaxLinks; ++i) {
    const bool is_magic = path.starts_with(kMagic);
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC | (is_magic ? 0 : O_NOFOLLOW)));
    if (fd || errno != ELOOP || is_magic) {
      if (!fd) return not_opened(named);
      return fd;
    }
    // The link that is looked at is the one that is read, whatever is put in its place meanwhile.
    const Fd link(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status{};
    if (!link || ::fstat(link.get(), &status) != 0) return not_opened(named);
    if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
      auto failure =
          fail_temporary(fmt::format("open {}: {} is a link of somebody else's", named, path));
      errno = ELOOP;
      return failure;
    }
    std::string target(PATH_MAX, '\0');
    const ssize_t size = ::readlinkat(link.get(), "", target.data(), target.size());
    if (size < 0) return not_opened(named);
    target.resize(static_cast<std::size_t>(size));
    if (!target.starts_with('/')) target.insert(0, path, 0, path.rfind('/') + 1);
    path = std::move(target);
  }
  errno = ELOOP;
  return not_opened(named);
}

}  // namespace postern::sys
