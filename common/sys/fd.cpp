#include "common/sys/fd.h"

#include <fcntl.h>
#include <fmt/format.h>

namespace postern::sys {

std::string errno_text(int error) {
  char buffer[128];
  return strerror_r(error, buffer, sizeof buffer);
}

std::unexpected<Error> fail_errno(std::string_view doing, int error) {
  return fail_temporary(fmt::format("{}: {}", doing, errno_text(error)));
}

Result<void> Fd::close_checked() {
  const int fd = release();
  if (fd >= 0 && ::close(fd) < 0 && errno != EINTR) return fail_errno("close");
  return {};
}

Result<Fd> duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return fail_errno("duplicate descriptor");
  return Fd(copy);
}

}  // namespace postern::sys
