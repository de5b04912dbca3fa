#include "pickup/retry_pause.h"

#include <catch2/catch.hpp>

namespace postern::pickup {

TEST_CASE("pauses double up to a minute and start over after a success") {
  using namespace std::chrono_literals;
  RetryPause pause;
  for (const auto wait : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) CHECK(pause.next() == wait);
  pause.reset();
  CHECK(pause.next() == 1s);
  CHECK(pause.next() == 2s);
}

}  // namespace postern::pickup
