#include "common/sys/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/sys/fd.h"

namespace postern::sys {

namespace {

std::string_view guarded_program;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

[[noreturn]] void give_up(int error) {
  if (error != EPIPE) {
    const std::string line = std::string(guarded_program) +
                             ": fatal: write standard output: " + errno_text(error) + "\n";
    // There is nobody left to tell where this fails, too.
    [[maybe_unused]] const ssize_t told = ::write(STDERR_FILENO, line.data(), line.size());
  }
  ::_exit(EXIT_FAILURE);
}

ssize_t write_out(void* /*cookie*/, const char* bytes, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::write(STDOUT_FILENO, bytes + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) give_up(errno);
    done += static_cast<std::size_t>(count);
  }
  return static_cast<ssize_t>(size);
}

}  // namespace

void guard_standard_output(std::string_view program) {
  guarded_program = program;
  cookie_io_functions_t functions{};
  functions.write = write_out;
  FILE* const guarded = ::fopencookie(nullptr, "w", functions);
  if (guarded == nullptr) return;
  const bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
  std::setvbuf(guarded, nullptr, is_terminal ? _IOLBF : _IOFBF, std::size_t{1} << 14U);
  stdout = guarded;
}

}  // namespace postern::sys
