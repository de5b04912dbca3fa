// signal.h - signals as something to read, not as interruptions.

#pragma once

#include <csignal>
#include <initializer_list>
#include <vector>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::sys {

// The signals named are blocked from now on and reported here instead. A child of this process
// unblocks them again (launch() does).
class SignalFd {
 public:
  [[nodiscard]] static Result<SignalFd> open(std::initializer_list<int> signals);

  // Readable when a signal waits.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Those that came since the last call, each once at most; never waits.
  [[nodiscard]] std::vector<int> read();

 private:
  explicit SignalFd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace postern::sys
