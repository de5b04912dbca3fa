// clock.cpp - a preloaded library that shows a process another time of day: POSTERN_TEST_CLOCK
// seconds later, or as many as the file of that name says now (a number of 64 bits, written while
// the process runs). Waiting goes on as ever (CLOCK_MONOTONIC). For tests only.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

std::int64_t fixed = 0;
std::int64_t* shift = &fixed;

[[gnu::constructor]] void find_shift() {
  const char* const text = std::getenv("POSTERN_TEST_CLOCK");
  if (text == nullptr) return;
  fixed = std::atol(text);
  if (text[0] != '/') return;
  const int fd = ::open(text, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* const page = ::mmap(nullptr, sizeof fixed, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) shift = static_cast<std::int64_t*>(page);
  ::close(fd);
}

}  // namespace

extern "C" int clock_gettime(clockid_t which, timespec* time) noexcept {
  using Function = int (*)(clockid_t, timespec*);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "clock_gettime"));
  const int done = real(which, time);
  if (done == 0 && which == CLOCK_REALTIME) time->tv_sec += std::atomic_ref(*shift).load();
  return done;
}
