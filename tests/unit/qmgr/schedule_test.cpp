#include "qmgr/schedule.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>

#include "qmgr/destination.h"
#include "qmgr/transport.h"

namespace postern::qmgr {

using namespace std::chrono_literals;
using queuefile::Queue;

TEST_CASE("messages come out in the order in which they are due, and only when they are") {
  Schedule schedule;
  const auto now = loop::Clock::now();
  schedule.put("late", Queue::kDeferred, now + 20s);
  schedule.put("soon", Queue::kDeferred, now + 10s);
  schedule.put("first", Queue::kIncoming, now);
  CHECK(schedule.next() == now);
  CHECK(schedule.take_due(now)->id == "first");
  CHECK_FALSE(schedule.take_due(now));
  CHECK(schedule.next() == now + 10s);
  CHECK(schedule.take_due(now + 30s)->id == "soon");
  CHECK(schedule.take_due(now + 30s)->id == "late");
  CHECK(schedule.next() == loop::kNever);
}

TEST_CASE("a changed time counts, not the one before; a removed message is gone") {
  Schedule schedule;
  const auto now = loop::Clock::now();
  schedule.put("a", Queue::kDeferred, now + 10s);
  schedule.put("b", Queue::kDeferred, now + 11s);
  schedule.put("a", Queue::kDeferred, now + 60s);
  CHECK(schedule.size() == 2);
  CHECK(schedule.take_due(now + 20s)->id == "b");
  CHECK_FALSE(schedule.take_due(now + 20s));
  schedule.make_due("a", now);
  CHECK(schedule.take_due(now)->id == "a");
  schedule.put("c", Queue::kDeferred, now);
  schedule.remove("c");
  CHECK_FALSE(schedule.take_due(now + 1h));
}

TEST_CASE("a flush makes everything due at once") {
  Schedule schedule;
  const auto now = loop::Clock::now();
  for (int i = 0; i < 100; ++i) {
    schedule.put(std::to_string(i), Queue::kDeferred, now + std::chrono::hours(i + 1));
  }
  schedule.make_all_due(now);
  int count = 0;
  while (schedule.take_due(now)) ++count;
  CHECK(count == 100);
}

TEST_CASE("whatever is put, changed, removed and flushed, what is due comes in its order") {
  std::mt19937 random(GENERATE(1U, 2U, 3U, 4U));
  const auto draw = [&](std::size_t limit) { return random() % limit; };
  Schedule schedule;
  std::map<std::string, loop::TimePoint> expected;
  loop::TimePoint now{1000h};
  for (int step = 0; step < 20'000; ++step) {
    const std::string id = std::to_string(draw(300));
    const auto due = now + std::chrono::milliseconds(draw(5000)) - 500ms;
    switch (draw(8)) {
      case 0:
        schedule.remove(id);
        expected.erase(id);
        break;
      case 1:
        schedule.make_due(id, now);
        if (expected.contains(id)) expected[id] = std::min(expected[id], now);
        break;
      case 2:
        if (draw(100) > 0) break;
        schedule.make_all_due(now);
        for (auto& [other, time] : expected) time = std::min(time, now);
        break;
      case 3:
        now += std::chrono::milliseconds(draw(1000));
        while (const auto taken = schedule.take_due(now)) {
          const auto known = expected.find(taken->id);
          REQUIRE(known != expected.end());
          for (const auto& [other, time] : expected) REQUIRE(known->second <= time);
          REQUIRE(known->second <= now);
          expected.erase(known);
        }
        for (const auto& [other, time] : expected) REQUIRE(time > now);
        break;
      default:
        schedule.put(id, Queue::kDeferred, due);
        expected[id] = due;
    }
    REQUIRE(schedule.size() == expected.size());
    REQUIRE(schedule.contains(id) == expected.contains(id));
    loop::TimePoint earliest = loop::kNever;
    for (const auto& [other, time] : expected) earliest = std::min(earliest, time);
    REQUIRE(schedule.next() == earliest);
  }
  std::size_t count = 0;
  schedule.for_each_id([&](const std::string& id) { count += expected.count(id); });
  CHECK(count == expected.size());
}

TEST_CASE("the recipient of a state byte is found, and no other") {
  Message message;
  for (const std::uint64_t offset : {10U, 20U, 35U}) {
    message.recipients.emplace_back().state_offset = offset;
  }
  CHECK(find_recipient(message, 20) == &message.recipients[1]);
  CHECK(find_recipient(message, 35) == &message.recipients[2]);
  for (const std::int64_t other : {-1, 0, 9, 11, 36})
    CHECK(find_recipient(message, other) == nullptr);
}

TEST_CASE("a window grows with success, shrinks with failure, and a round of failures kills") {
  Limits limits;
  limits.initial_concurrency = 3;
  limits.concurrency = 5;
  Destination destination("d.test", limits);
  const auto now = loop::Clock::now();
  const auto flights = [&] {
    Message message;
    unsigned count = 0;
    while (destination.is_open(limits, now)) {
      destination.add({&message, {0}});
      (void)destination.take(limits, now);
      ++count;
    }
    for (unsigned i = 0; i < count; ++i) destination.landed();
    return count;
  };
  CHECK(flights() == 3);
  for (int i = 0; i < 10; ++i) destination.succeeded(limits);
  CHECK(flights() == 5);
  bool died = false;
  int failures = 0;
  while (!died && failures < 100) {
    died = destination.failed(limits, now, "4.4.1 refused");
    ++failures;
  }
  CHECK(died);
  CHECK(failures <= 5);
  CHECK(destination.is_dead(now));
  CHECK_FALSE(destination.is_dead(now + limits.dead_time + 1s));
  CHECK(destination.why_dead() == "4.4.1 refused");
}

TEST_CASE("a destination that is paced never dies") {
  Limits limits;
  limits.rate_delay = 1s;
  Destination destination("d.test", limits);
  const auto now = loop::Clock::now();
  for (int i = 0; i < 100; ++i) CHECK_FALSE(destination.failed(limits, now, "4.4.1 refused"));
  CHECK_FALSE(destination.is_dead(now));
}

TEST_CASE("messages with many recipients take turns with the others") {
  Limits limits;
  limits.recipients = 2;
  Destination destination("d.test", limits);
  Message large;
  Message small;
  destination.add({&large, {4, 3, 2, 1, 0}});
  destination.add({&small, {0}});
  const auto now = loop::Clock::now();
  const Job first = destination.take(limits, now);
  CHECK(first.message == &large);
  CHECK(first.recipients == IndexList{1, 0});
  CHECK(destination.take(limits, now).message == &small);
  CHECK(destination.take(limits, now).recipients == IndexList{3, 2});
  CHECK(destination.take(limits, now).recipients == IndexList{4});
  CHECK_FALSE(destination.has_jobs());
}

TEST_CASE("a rate delay keeps one destination waiting and leaves the others alone") {
  Limits limits;
  limits.rate_delay = 10s;
  Transport transport("smtp", limits);
  Message message;
  const auto now = loop::Clock::now();
  for (const auto* name : {"slow.test", "other.test"}) {
    Destination& destination = transport.destination(name);
    destination.add({&message, {0}});
    destination.add({&message, {1}});
    transport.list(destination);
  }
  loop::TimePoint wake = loop::kNever;
  for (int i = 0; i < 2; ++i) {
    Destination* next = transport.next(now, wake);
    REQUIRE(next != nullptr);
    (void)next->take(limits, now);
    next->landed();
    transport.list(*next);
  }
  CHECK(transport.next(now, wake) == nullptr);
  CHECK(wake == now + 10s);
  CHECK(transport.next(now + 10s, wake) != nullptr);
}

TEST_CASE("feedback is read as postconf(5) writes it") {
  CHECK(parse_feedback("1").at(10) == 1);
  CHECK(parse_feedback("1/concurrency").at(10) == Approx(0.1));
  CHECK(parse_feedback("0.5/sqrt_concurrency").at(4) == Approx(0.25));
}

TEST_CASE("a destination is forgotten when it was idle for two looks, not while it has a place") {
  Limits limits;
  Transport transport("smtp", limits);
  Message message;
  const auto now = loop::Clock::now();
  (void)transport.destination("idle.test");
  Destination& busy = transport.destination("busy.test");
  busy.add({&message, {0}});
  transport.list(busy);
  for (int look = 0; look < 3; ++look) transport.forget_idle(now);
  CHECK(transport.destinations() == 1);
  loop::TimePoint wake = loop::kNever;
  CHECK(transport.next(now, wake) == &busy);
  (void)busy.take(limits, now);
  transport.forget_idle(now);
  busy.landed();
  transport.forget_idle(now);
  CHECK(&transport.destination("busy.test") == &busy);  // asked for: it is not idle
  transport.forget_idle(now);
  CHECK(transport.destinations() == 1);
  transport.forget_idle(now);
  CHECK(transport.destinations() == 0);
}

TEST_CASE("a message knows how many jobs point to it") {
  Limits limits;
  limits.recipients = 2;
  Destination destination("d.test", limits);
  Message message;
  const auto now = loop::Clock::now();
  destination.add({&message, {2, 1, 0}});
  CHECK(message.jobs == 1);
  CHECK(destination.take(limits, now).recipients.size() == 2);
  CHECK(message.jobs == 1);  // one recipient still waits
  CHECK(destination.take(limits, now).recipients.size() == 1);
  CHECK(message.jobs == 0);
  destination.add({&message, {0}});
  destination.add({&message, {1}});
  CHECK(message.jobs == 2);
  CHECK(destination.take_all().size() == 2);
  CHECK(message.jobs == 0);
}

}  // namespace postern::qmgr
