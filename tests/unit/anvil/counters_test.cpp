#include "anvil/counters.h"

#include <catch2/catch.hpp>

namespace postern::anvil {

namespace {

using ipc::anvil::Event;
using std::chrono::seconds;

constexpr std::uint64_t kOne = 1;
constexpr std::uint64_t kTwo = 2;

ipc::anvil::Count question(Event event, std::int64_t connections = 0,
                           std::string client = "192.0.2.1") {
  ipc::anvil::Count result;
  result.service = "smtp";
  result.client = std::move(client);
  result.event = event;
  result.connections = connections;
  return result;
}

}  // namespace

TEST_CASE("rates count up within the time unit and begin anew after it") {
  Counters counters(seconds(60));
  const Time start{seconds(1'000'000)};
  CHECK(counters.count(kOne, question(Event::kMessage), start).rate == 1);
  CHECK(counters.count(kOne, question(Event::kMessage), start + seconds(59)).rate == 2);
  CHECK(counters.count(kOne, question(Event::kRecipient), start + seconds(59)).rate == 1);
  CHECK(counters.count(kOne, question(Event::kMessage), start + seconds(60)).rate == 1);
  // A clock that was set back does not count for ever.
  CHECK(counters.count(kOne, question(Event::kMessage), start - seconds(5)).rate == 1);
}

TEST_CASE("clients and services are counted apart") {
  Counters counters(seconds(60));
  const Time now{seconds(1'000'000)};
  CHECK(counters.count(kOne, question(Event::kMessage), now).rate == 1);
  CHECK(counters.count(kOne, question(Event::kMessage, 0, "192.0.2.2"), now).rate == 1);
  auto other = question(Event::kMessage);
  other.service = "submission";
  CHECK(counters.count(kOne, other, now).rate == 1);
}

TEST_CASE("connections add up over processes, and go with a process that ends") {
  Counters counters(seconds(60));
  const Time now{seconds(1'000'000)};
  CHECK(counters.count(kOne, question(Event::kConnection, 3), now).connections == 3);
  CHECK(counters.count(kTwo, question(Event::kConnection, 4), now).connections == 7);
  counters.set_connections(kTwo, {"smtp", "192.0.2.1", 1}, now);
  CHECK(counters.count(kOne, question(Event::kConnection, 2), now).connections == 3);
  counters.forget_source(kTwo);
  CHECK(counters.count(kOne, question(Event::kConnection, 2), now).connections == 2);
}

TEST_CASE("idle clients are forgotten, connected ones are not") {
  Counters counters(seconds(60));
  const Time now{seconds(1'000'000)};
  (void)counters.count(kOne, question(Event::kConnection, 1), now);
  (void)counters.count(kOne, question(Event::kMessage, 0, "192.0.2.2"), now);
  counters.forget_idle(now + seconds(30));
  CHECK(counters.clients() == 2);
  counters.forget_idle(now + seconds(60));
  CHECK(counters.clients() == 1);
}

TEST_CASE("statistics have the words that log readers know") {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  Counters counters(seconds(60));
  const Time now{seconds(1'700'000'000)};  // Nov 14 22:13:20
  (void)counters.count(kOne, question(Event::kConnection, 2), now);
  ipc::anvil::Tally tally;
  tally.service = "smtp";
  tally.clients.push_back({"192.0.2.9", 1, {1, 4, 9}});
  counters.add(tally, now);
  CHECK(counters.take_statistics() ==
        std::vector<std::string>{
            "statistics: max connection rate 1/60s for (smtp:192.0.2.1) at Nov 14 22:13:20",
            "statistics: max connection count 2 for (smtp:192.0.2.1) at Nov 14 22:13:20",
            "statistics: max message rate 4/60s for (smtp:192.0.2.9) at Nov 14 22:13:20",
            "statistics: max recipient rate 9/60s for (smtp:192.0.2.9) at Nov 14 22:13:20",
            "statistics: max cache size 2 at Nov 14 22:13:20"});
  CHECK(counters.take_statistics().empty());
}

}  // namespace postern::anvil
