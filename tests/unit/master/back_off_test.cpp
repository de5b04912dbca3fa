#include "master/back_off.h"

#include <catch2/catch.hpp>

namespace postern::master {

namespace {

using namespace std::chrono_literals;
using Duration = BackOff::Duration;

constexpr Duration kLongest = 60s;

Duration killed_after(BackOff& back_off, Duration served) {
  return back_off.after(served, true, kLongest);
}

}  // namespace

TEST_CASE("a process that dies before or right after it is ready waits ever longer, to a limit") {
  const auto served = GENERATE(std::optional<Duration>{}, std::optional<Duration>{999ms});
  const bool failed = GENERATE(true, false);
  BackOff back_off;
  // One crash of a process that was ready is no row of them.
  if (served && failed) CHECK(back_off.after(served, failed, kLongest) == 0s);
  for (const Duration wait : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
    CHECK(back_off.after(served, failed, kLongest) == wait);
  }
  CHECK(back_off.after(served, failed, 0s) == 1s);
}

TEST_CASE("a process killed after it served is replaced at once, again and again") {
  BackOff back_off;
  for (int i = 0; i < 10; ++i) CHECK(killed_after(back_off, 5s) == 0s);
}

TEST_CASE("one killed soon after it was ready is replaced at once the first time only") {
  BackOff back_off;
  CHECK(killed_after(back_off, 1s) == 0s);
  CHECK(killed_after(back_off, 1s) == 1s);
  CHECK(killed_after(back_off, 4999ms) == 1s);  // served in between: no doubling
  CHECK(killed_after(back_off, 0s) == 1s);
  CHECK(killed_after(back_off, 0s) == 2s);
  CHECK(killed_after(back_off, 2s) == 2s);
}

TEST_CASE("who has served for a while ends a row of crashes") {
  BackOff back_off;
  CHECK(killed_after(back_off, 0s) == 0s);
  for (int i = 0; i < 5; ++i) CHECK(killed_after(back_off, 0s) > 0s);
  SECTION("when it dies") { CHECK(killed_after(back_off, 5s) == 0s); }
  SECTION("while it lives") {
    back_off.reset();
    CHECK(killed_after(back_off, 0s) == 0s);
  }
  SECTION("when it ends well") {
    CHECK(back_off.after(1s, false, kLongest) == 0s);
    CHECK(killed_after(back_off, 0s) == 0s);
  }
  CHECK(killed_after(back_off, 0s) == 1s);
}

TEST_CASE("ending well after a while never waits") {
  BackOff back_off;
  for (int i = 0; i < 5; ++i) CHECK(back_off.after(1s, false, kLongest) == 0s);
}

}  // namespace postern::master
