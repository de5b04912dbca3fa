#include "common/loop/loop.h"

#include <sys/socket.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "common/loop/stream.h"
#include "common/loop/worker_pool.h"
#include "common/sys/socket.h"

namespace postern::loop {

using namespace std::chrono_literals;

namespace {

Task<int> twice(int n) { co_return 2 * n; }

Task<void> add_up(int& sum) {
  const int four = co_await twice(2);
  const int six = co_await twice(3);
  sum = four + six;
}

Task<void> sleep_and_note(Clock::duration wait, std::vector<int>& order, int number, int last) {
  co_await sleep_for(wait);
  order.push_back(number);
  if (number == last) Loop::current().stop();
}

}  // namespace

TEST_CASE("a task returns its value to the one that awaits it") {
  Loop loop;
  int sum = 0;
  spawn(add_up(sum));
  CHECK(sum == 10);
}

TEST_CASE("timers go off in the order of their times, however they were armed") {
  Loop loop;
  std::vector<int> order;
  spawn(sleep_and_note(30ms, order, 3, 3));
  spawn(sleep_and_note(10ms, order, 1, 3));
  spawn(sleep_and_note(20ms, order, 2, 3));
  loop.run();
  CHECK(order == std::vector{1, 2, 3});
}

TEST_CASE("a disarmed timer never goes off, and many can come and go") {
  Loop loop;
  int fired = 0;
  std::vector<std::unique_ptr<CallbackTimer>> timers;
  for (int i = 0; i < 1000; ++i) {
    timers.push_back(std::make_unique<CallbackTimer>([&] { ++fired; }));
    timers.back()->arm(Clock::now() + std::chrono::microseconds((i * 7919) % 5000));
  }
  for (std::size_t i = 0; i < timers.size(); i += 2) timers[i]->disarm();
  CallbackTimer end([&] { loop.stop(); });
  end.arm(Clock::now() + 20ms);
  loop.run();
  CHECK(fired == 500);
}

TEST_CASE("log hooks run before frame hooks, and one may schedule the other") {
  struct Hook : TurnEnd {
    std::function<void()> call;
    void on_turn_end() override { call(); }
  };
  Loop loop;
  std::string order;
  Hook frames;
  Hook lines;
  frames.call = [&] {
    order += 'f';
    if (order.size() < 4) loop.schedule(lines, Loop::Order::kLog);
  };
  lines.call = [&] { order += 'l'; };
  loop.schedule(frames, Loop::Order::kFrames);
  loop.schedule(lines, Loop::Order::kLog);
  loop.post([&] { loop.stop(); });
  loop.run();
  CHECK(order == "lfl");
}

TEST_CASE("a loop that is stopped before it runs does not wait, and can run again") {
  Loop loop;
  loop.stop();
  loop.run();
  bool ran = false;
  loop.post([&] {
    ran = true;
    loop.stop();
  });
  loop.run();
  CHECK(ran);
}

namespace {

Task<void> read_with_deadline(Stream& stream, Io& outcome) {
  outcome = co_await stream.fill(Clock::now() + 10ms);
  Loop::current().stop();
}

Task<void> echo(Stream& stream, std::string& seen) {
  while (co_await stream.fill(Clock::now() + 1s) == Io::kOk) {
    seen += stream.input();
    stream.consume(stream.input().size());
  }
  Loop::current().stop();
}

}  // namespace

TEST_CASE("a peer that says nothing runs into the deadline") {
  Loop loop;
  auto pair = sys::socket_pair();
  REQUIRE(pair);
  Stream stream(std::move(pair->first));
  Io outcome = Io::kOk;
  spawn(read_with_deadline(stream, outcome));
  loop.run();
  CHECK(outcome == Io::kTimeout);
}

TEST_CASE("a stream that is gone hears nothing of a copy of its connection") {
  Loop loop;
  auto pair = sys::socket_pair();
  REQUIRE(pair);
  auto copy = sys::duplicate(pair->first.get());
  REQUIRE(copy);
  auto stream = std::make_unique<Stream>(std::move(pair->first));
  stream.reset();
  REQUIRE(::write(pair->second.get(), "x", 1) == 1);
  // Its event comes to nobody.
  Stream other(*std::move(copy));
  Io outcome = Io::kTimeout;
  loop.post([&] { spawn(read_with_deadline(other, outcome)); });
  loop.run();
  CHECK(outcome == Io::kOk);
}

namespace {

Task<void> read_all(Stream& stream, std::string name, std::vector<std::string>& order,
                    std::size_t wanted, unsigned& left) {
  for (std::size_t size = 0; size < wanted;) {
    const Io io = co_await stream.fill(Clock::now() + 5s);
    if (io != Io::kOk) break;
    size += stream.input().size();
    stream.consume(stream.input().size());
    order.push_back(name);
  }
  if (--left == 0) Loop::current().stop();
}

}  // namespace

TEST_CASE("a peer that sends faster than it is read lets others have their turn") {
  Loop loop;
  auto fast = *sys::socket_pair();
  auto quiet = *sys::socket_pair();
  const int room = 1 << 20;
  ::setsockopt(fast.first.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  // More than is read at once, three times.
  const std::string piece(8192, 'x');
  std::size_t sent = 0;
  while (sent < 4 * Stream::kReadSize) {
    const ssize_t count = ::send(fast.first.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (count < 0) break;
    sent += static_cast<std::size_t>(count);
  }
  REQUIRE(sent > 3 * Stream::kReadSize);
  REQUIRE(::send(quiet.first.get(), "y", 1, 0) == 1);
  Stream many(std::move(fast.second));
  Stream few(std::move(quiet.second));
  std::vector<std::string> order;
  unsigned left = 2;
  spawn(read_all(many, "many", order, sent, left));
  spawn(read_all(few, "few", order, 1, left));
  loop.run();
  const auto place = std::ranges::find(order, "few") - order.begin();
  INFO(fmt::format("{}", fmt::join(order, " ")));
  CHECK(place < std::ssize(order) - 1);
}

TEST_CASE("the deadline counts for a peer that never lets us wait, too") {
  Loop loop;
  auto pair = *sys::socket_pair();
  const std::string piece(8192, 'x');
  Stream stream(std::move(pair.second));
  const auto fill_up = [&] {
    while (::send(pair.first.get(), piece.data(), piece.size(), MSG_DONTWAIT) > 0) continue;
  };
  Io end = Io::kOk;
  const auto read_on = [](Stream& from, Io& last, const auto& before) -> Task<void> {
    const auto deadline = Clock::now() + 30ms;
    const auto too_late = deadline + 5s;
    while (last == Io::kOk && Clock::now() < too_late) {
      before();
      last = co_await from.fill(deadline);
      from.consume(from.input().size());
    }
    Loop::current().stop();
  };
  spawn(read_on(stream, end, fill_up));
  loop.run();
  CHECK(end == Io::kTimeout);
}

TEST_CASE("everything a peer sent is read before its end is told") {
  Loop loop;
  auto pair = sys::socket_pair();
  REQUIRE(pair);
  const std::string sent(200'000, 'x');
  Stream writer(std::move(pair->second));
  std::string seen;
  Stream stream(std::move(pair->first));
  spawn(echo(stream, seen));
  spawn([](Stream& to, const std::string& text) -> Task<void> {
    (void)co_await to.write(text, Clock::now() + 1s);
    to.close();
  }(writer, sent));
  loop.run();
  CHECK(seen == sent);
}

TEST_CASE("jobs of the worker pool return their value to the loop's thread") {
  Loop loop;
  WorkerPool pool(4);
  const auto self = std::this_thread::get_id();
  int sum = 0;
  int left = 50;
  const auto job = [](WorkerPool& workers, int n, int& total, int& open,
                      std::thread::id home) -> Task<void> {
    const bool elsewhere =
        co_await workers.run([home] { return std::this_thread::get_id() != home; });
    CHECK(elsewhere);
    CHECK(std::this_thread::get_id() == home);
    total += n;
    if (--open == 0) Loop::current().stop();
  };
  for (int n = 1; n <= 50; ++n) spawn(job(pool, n, sum, left, self));
  loop.run();
  CHECK(sum == 1275);
}

TEST_CASE("a condition wakes one or all, and its waiters have deadlines") {
  Loop loop;
  Condition condition;
  std::vector<Wait> outcomes;
  const auto waiter = [](Condition& on, Clock::duration limit,
                         std::vector<Wait>& seen) -> Task<void> {
    seen.push_back(co_await on.wait(Clock::now() + limit));
    if (seen.size() == 3) Loop::current().stop();
  };
  spawn(waiter(condition, 5ms, outcomes));
  spawn(waiter(condition, 1s, outcomes));
  spawn(waiter(condition, 1s, outcomes));
  CallbackTimer timer([&] { condition.notify_all(); });
  timer.arm(Clock::now() + 20ms);
  loop.run();
  CHECK(outcomes == std::vector{Wait::kTimeout, Wait::kReady, Wait::kReady});
}

}  // namespace postern::loop
