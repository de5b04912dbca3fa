#include "common/loop/named_locks.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace postern::loop {

namespace {

struct Users {
  Loop loop;
  NamedLocks locks;
  std::vector<std::string> seen;
  unsigned at_once = 0;

  Task<void> use(std::string name, std::string who) {
    const auto held = co_await locks.take(std::move(name));
    CHECK(++at_once == 1);
    seen.push_back(std::move(who));
    // Others run meanwhile.
    Condition never;
    co_await never.wait(Clock::now() + std::chrono::milliseconds(1));
    --at_once;
  }
  Task<void> use_and_come_back() {
    co_await use("a", "first");
    co_await use("a", "again");
  }
  void settle() {
    CallbackTimer timer([this] { loop.stop(); });
    timer.arm(Clock::now() + std::chrono::milliseconds(50));
    loop.run();
  }
};

}  // namespace

TEST_CASE("a name is one's at a time, in the order of asking") {
  Users users;
  spawn(users.use_and_come_back());
  spawn(users.use("a", "second"));
  spawn(users.use("a", "third"));
  users.settle();
  // Who comes back stands at the end of the line.
  CHECK(users.seen == std::vector<std::string>{"first", "second", "third", "again"});
}

TEST_CASE("names do not hold up one another, and a lock that moves is held once") {
  Users users;
  spawn([](Users& in) -> Task<void> {
    NamedLocks::Held held;
    held = co_await in.locks.take("b");
    held = co_await in.locks.take("c");  // gives b back
    co_await in.use("b", "b is free");
    in.seen.emplace_back("end");
  }(users));
  users.settle();
  CHECK(users.seen == std::vector<std::string>{"b is free", "end"});
}

}  // namespace postern::loop
