#include "qmgr/leaps.h"

#include <catch2/catch.hpp>

namespace postern::qmgr {

namespace {
constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kHour = 3600 * kSecond;
constexpr std::int64_t kYear = 365 * 24 * kHour;
constexpr std::int64_t kStart = 50 * kYear;
}  // namespace

TEST_CASE("mail ages with the clock that nobody sets") {
  Leaps leaps;
  leaps.look(kStart, 0);
  CHECK(leaps.age_of(kStart - kHour) == kHour);
  leaps.look(kStart + kHour, kHour);
  CHECK(leaps.age_of(kStart) == kHour);

  SECTION("small corrections are as they are") {
    leaps.look(kStart + 2 * kHour + 1800 * kSecond, 2 * kHour);
    CHECK(leaps.age_of(kStart) == 2 * kHour + 1800 * kSecond);
  }
  SECTION("a year ahead") {
    leaps.look(kStart + kYear + 2 * kHour, 2 * kHour);
    CHECK(leaps.age_of(kStart) == 2 * kHour);
    CHECK(leaps.age_of(kStart - 5 * kHour) == 7 * kHour);
    // What comes afterwards has the new time.
    leaps.look(kStart + kYear + 5 * kHour, 5 * kHour);
    CHECK(leaps.age_of(kStart + kYear + 3 * kHour) == 2 * kHour);
    CHECK(leaps.age_of(kStart) == 5 * kHour);
    SECTION("and back again") {
      leaps.look(kStart + 6 * kHour, 6 * kHour);
      CHECK(leaps.age_of(kStart + kYear + 3 * kHour) == 3 * kHour);
      CHECK(leaps.age_of(kStart + kHour) == 5 * kHour);
      CHECK(leaps.age_of(kStart + 6 * kHour) == 0);
    }
  }
  SECTION("a year back") {
    leaps.look(kStart - kYear + 2 * kHour, 2 * kHour);
    CHECK(leaps.age_of(kStart) == 2 * kHour);
    CHECK(leaps.age_of(kStart + kHour) == kHour);
    CHECK(leaps.age_of(kStart - kYear + 2 * kHour) == 0);
  }
}

TEST_CASE("a clock that is set without end costs no memory") {
  Leaps leaps;
  for (std::int64_t i = 0; i < 10'000; ++i) leaps.look(kStart + (i % 2) * kYear, i);
  CHECK(leaps.age_of(kStart + kYear) == 0);
}

}  // namespace postern::qmgr
