#include "common/policy/probe_sender.h"

#include <catch2/catch.hpp>

namespace postern::policy {

namespace {
using namespace std::chrono_literals;
}

TEST_CASE("without a time to live the sender of probes is what main.cf says") {
  CHECK(probe_sender("double-bounce", 0s, 1000) == "double-bounce");
  CHECK(probe_sender("p@x.test", 0s, 1000) == "p@x.test");
  CHECK(probe_sender("<>", 10s, 1000).empty());
  CHECK(probe_sender("", 10s, 1000).empty());
  CHECK(is_probe_sender("Double-Bounce@any.test", "double-bounce", 0s, 1000));
  CHECK_FALSE(is_probe_sender("double-bounce1@any.test", "double-bounce", 0s, 1000));
  CHECK(is_probe_sender("p@x.test", "p@x.test", 0s, 1000));
  CHECK_FALSE(is_probe_sender("p@y.test", "p@x.test", 0s, 1000));
  CHECK_FALSE(is_probe_sender("", "", 0s, 1000));
}

TEST_CASE("with one it changes, and that of the period before still counts") {
  const auto first = probe_sender("double-bounce", 100s, 3'600'000);
  const auto second = probe_sender("double-bounce", 100s, 3'600'100);
  CHECK(first == "double-bouncers0");
  CHECK(first != second);
  CHECK(probe_sender("p@x.test", 100s, 3'600'000) == "prs0@x.test");
  CHECK(is_probe_sender(first, "double-bounce", 100s, 3'600'000));
  CHECK(is_probe_sender(first + "@any.test", "double-bounce", 100s, 3'600'100));
  CHECK_FALSE(is_probe_sender(first, "double-bounce", 100s, 3'600'200));
  CHECK_FALSE(is_probe_sender(second, "double-bounce", 100s, 3'600'000));
  CHECK_FALSE(is_probe_sender("double-bounce", "double-bounce", 100s, 3'600'000));
}

}  // namespace postern::policy
