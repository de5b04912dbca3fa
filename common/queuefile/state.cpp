#include "common/queuefile/state.h"

#include <unistd.h>

#include <limits>

#include "common/sys/fd.h"

namespace postern::queuefile {

Result<void> write_state(int fd, std::uint64_t state_offset, State state) {
  if (state_offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
    return fail_temporary("write recipient state: offset out of range");
  }
  const char byte = static_cast<char>(state);
  for (;;) {
    const ssize_t n = ::pwrite(fd, &byte, 1, static_cast<off_t>(state_offset));
    if (n == 1) return {};
    if (n == 0) return fail_temporary("write recipient state: nothing was written");
    if (errno != EINTR) return sys::fail_errno("write recipient state");
  }
}

}  // namespace postern::queuefile
