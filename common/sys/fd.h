// fd.h - a file descriptor that closes itself, and errno as an Error.

#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/result.h"

namespace postern::sys {

// Owns one descriptor, or none (-1).
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

  // Closes and says whether the kernel had kept a write error back (NFS, quota, full disk).
  [[nodiscard]] Result<void> close_checked();

 private:
  int fd_ = -1;
};

// The text of an errno value, thread-safe: "No such file or directory".
[[nodiscard]] std::string errno_text(int error);

// "doing: No such file or directory", always temporary: the caller knows better or it is so.
[[nodiscard]] std::unexpected<Error> fail_errno(std::string_view doing, int error = errno);

// A second descriptor for the same open file, close-on-exec.
[[nodiscard]] Result<Fd> duplicate(int fd);

}  // namespace postern::sys
