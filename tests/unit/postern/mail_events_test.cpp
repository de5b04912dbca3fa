#include "postern/mail_events.h"

#include <catch2/catch.hpp>

namespace postern::control {

namespace {

using ipc::agent::Outcome;
using ipc::qmgr::Event;
using ipc::qmgr::EventKind;

Event outcome(Outcome what, const std::string& recipient = "r@away.test") {
  Event event;
  event.queue_id = "4D41B9";
  event.sender = "s@home.test";
  event.recipient = recipient;
  event.outcome = what;
  event.text = "250 2.0.0 Ok";
  return event;
}

}  // namespace

TEST_CASE("an outcome is told in words") {
  CHECK(print_event(outcome(Outcome::kDelivered)) ==
        "4D41B9  r@away.test  delivered: 250 2.0.0 Ok\n");
  CHECK(print_event(outcome(Outcome::kBounced)) == "4D41B9  r@away.test  returned: 250 2.0.0 Ok\n");
  CHECK(print_event(outcome(Outcome::kDeferred)) == "4D41B9  r@away.test  waits: 250 2.0.0 Ok\n");
}

TEST_CASE("what comes from outside cannot steer a terminal") {
  Event event = outcome(Outcome::kDeferred);
  event.text = "\x1b[2Jgone\nnext";
  const std::string line = print_event(event);
  CHECK(line.find('\x1b') == std::string::npos);
  CHECK(line.find('\n') == line.size() - 1);
}

TEST_CASE("an arrival names the sender, the first recipient and how many more there are") {
  Event event;
  event.kind = EventKind::kArrived;
  event.queue_id = "4D41B9";
  event.recipient = "r@away.test";
  event.recipients = 3;
  event.size = 312;
  CHECK(print_event(event) == "4D41B9  arrived: from <> to r@away.test and 2 more, 312 bytes\n");
}

TEST_CASE("a filter takes the clients of an address or a network") {
  struct Case {
    std::string_view clients;
    std::string_view wanted;
    std::string_view client;
    bool is_taken;
  };
  const auto c = GENERATE(values<Case>({
      {"192.0.2.7", "", "192.0.2.7", true},
      {"192.0.2.7", "", "192.0.2.8", false},
      {"192.0.2.0/24", "", "192.0.2.8", true},
      {"2001:db8::/32", "", "2001:DB8:0::1", true},
      {"192.0.2.7", "", "", false},
      {"192.0.2.7", "", "unknown", false},
      {"192.0.2.7", "away.test", "192.0.2.7", true},
      {"192.0.2.7", "elsewhere.test", "192.0.2.7", false},
      {"192.0.2.8", "away.test", "192.0.2.7", false},
  }));
  INFO(c.clients << " " << c.wanted << " " << c.client);
  std::vector<std::string> faults;
  EventFilter filter(c.wanted, config::Networks::parse(c.clients, {}, faults));
  REQUIRE(faults.empty());
  Event event = outcome(Outcome::kDeferred);
  event.client = c.client;
  CHECK(filter.takes(event) == c.is_taken);
  // What tells no client any more belongs to it all the same.
  Event end;
  end.kind = EventKind::kDeferred;
  end.queue_id = event.queue_id;
  CHECK(filter.takes(end) == c.is_taken);
}

TEST_CASE("an arrival shows where it came from") {
  Event event;
  event.kind = EventKind::kArrived;
  event.queue_id = "4D41B9";
  event.sender = "s@home.test";
  event.client = "192.0.2.7\x1b";
  event.recipient = "r@away.test";
  event.recipients = 1;
  event.size = 312;
  CHECK(print_event(event) ==
        "4D41B9  arrived: from s@home.test [192.0.2.7?] to r@away.test, 312 bytes\n");
}

TEST_CASE("an event as an object has what is known and no more") {
  CHECK(print_event_json(outcome(Outcome::kDelivered), 7) ==
        R"({"time":7,"event":"outcome","queue_id":"4D41B9","outcome":"delivered",)"
        R"("sender":"s@home.test","recipient":"r@away.test","text":"250 2.0.0 Ok"})"
        "\n");
}

TEST_CASE("a filter takes an id, an address or a domain, and then the message to its end") {
  struct Case {
    std::string_view wanted;
    bool is_taken;
  };
  const auto c = GENERATE(values<Case>({
      {"", true},
      {"4d41b9", true},
      {"4D41B9", true},
      {"R@Away.test", true},
      {"s@home.test", true},
      {"away.test", true},
      {"way.test", false},
      {"test", false},
      {"other@away.test", false},
  }));
  INFO(c.wanted);
  EventFilter filter(c.wanted);
  CHECK(filter.takes(outcome(Outcome::kDelivered)) == c.is_taken);
  Event end;
  end.kind = EventKind::kRemoved;
  end.queue_id = "4D41B9";
  CHECK(filter.takes(end) == c.is_taken);
}

TEST_CASE("the sum of a flush is one sentence") {
  EventCounts counts;
  CHECK(counts.sentence() == "0 recipients");
  counts.add(outcome(Outcome::kDelivered));
  CHECK(counts.sentence() == "1 recipient: 1 delivered");
  counts.add(outcome(Outcome::kBounced));
  counts.add(outcome(Outcome::kDeferred));
  counts.add(outcome(Outcome::kDeferred));
  CHECK(counts.sentence() == "4 recipients: 1 delivered, 1 returned to its sender, 2 still wait");
}

TEST_CASE("a line of smtpd is read for whom it is about") {
  const auto facts = facts_of(
      "NOQUEUE: reject: RCPT from a.test[192.0.2.7]: 554 5.7.1 <r@b.test>: Relay access denied; "
      "from=<s@a.test> to=<r@b.test> proto=ESMTP helo=<[203.0.113.1]>");
  CHECK(facts.is_refusal);
  CHECK(facts.queue_id.empty());
  CHECK(facts.client == "192.0.2.7");
  CHECK(facts.sender == "s@a.test");
  CHECK(facts.recipient == "r@b.test");
  const auto accepted = facts_of("4bMFyz1zYbz5Xk1: client=unknown[2001:db8::1]");
  CHECK(accepted.queue_id == "4bMFyz1zYbz5Xk1");
  CHECK(accepted.client == "2001:db8::1");
  CHECK_FALSE(accepted.is_refusal);
  for (const auto* line : {"", "[", "]", "from=<", " from=<", " to=<x", "[[[", "x [y"}) {
    CHECK(facts_of(line).client.empty());
  }
}

TEST_CASE("a filter takes the lines of a client, and those that name an address or a domain") {
  struct Case {
    std::string_view clients;
    std::string_view wanted;
    bool is_taken;
  };
  const auto c = GENERATE(values<Case>({
      {"", "", true},
      {"192.0.2.0/24", "", true},
      {"198.51.100.1", "", false},
      {"", "b.test", true},
      {"", "R@B.test", true},
      {"", "a.test", false},
      {"192.0.2.7", "b.test", true},
      {"192.0.2.8", "b.test", false},
      {"", "4D41B9", false},
  }));
  INFO(c.clients << " " << c.wanted);
  std::vector<std::string> faults;
  EventFilter filter(c.wanted, config::Networks::parse(c.clients, {}, faults));
  ipc::anvil::SessionLine line;
  line.text = "NOQUEUE: reject: RCPT from a.test[192.0.2.7]: 550 5.1.1 no; from=<> to=<r@b.test>";
  CHECK(filter.takes(line) == c.is_taken);
}

}  // namespace postern::control
