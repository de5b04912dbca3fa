// clock.cpp - a preloaded library that shows a process another time of day: POSTERN_TEST_CLOCK
// seconds later. Waiting goes on as ever (CLOCK_MONOTONIC). For tests only.

#include <dlfcn.h>

#include <cstdlib>
#include <ctime>

extern "C" int clock_gettime(clockid_t which, timespec* time) noexcept {
  using Function = int (*)(clockid_t, timespec*);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "clock_gettime"));
  static const char* const text = std::getenv("POSTERN_TEST_CLOCK");
  static const long shift = text == nullptr ? 0 : std::atol(text);
  const int done = real(which, time);
  if (done == 0 && which == CLOCK_REALTIME) time->tv_sec += shift;
  return done;
}
