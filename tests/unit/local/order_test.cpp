#include "local/order.h"

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <vector>

namespace postern::local {

namespace {

struct Visits {
  loop::Loop loop;
  Order order;
  std::vector<std::string> seen;

  loop::Task<void> visit(Order::Place& place, std::string who, std::string what) {
    co_await place.go_to(std::move(what));
    seen.push_back(std::move(who));
  }
  void start(Order::Place& place, std::string who, std::string what) {
    loop::spawn(visit(place, std::move(who), std::move(what)));
  }
  // Until nothing more happens by itself.
  void settle(std::chrono::milliseconds time = std::chrono::milliseconds(20)) {
    loop::CallbackTimer timer([this] { loop.stop(); });
    timer.arm(loop::Clock::now() + time);
    loop.run();
  }
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("who came first to a user is first at his command") {
  Visits visits;
  Order::Place first(visits.order, "alice");
  Order::Place second(visits.order, "alice");
  Order::Place third(visits.order, "alice");
  visits.start(third, "third", "|note");
  visits.start(second, "second", "|note");
  visits.settle();
  CHECK(visits.seen.empty());
  visits.start(first, "first", "|note");
  visits.settle();
  CHECK(visits.seen == Names{"first", "second", "third"});
}

TEST_CASE("who has been there, has ended or is another user's is not waited for") {
  Visits visits;
  auto ended = std::make_unique<Order::Place>(visits.order, "alice");
  Order::Place other(visits.order, "bob");
  Order::Place first(visits.order, "alice");
  Order::Place second(visits.order, "alice");
  visits.start(first, "first", "|note");
  visits.start(second, "second", "|note");
  visits.settle();
  CHECK(visits.seen.empty());
  ended.reset();
  visits.settle();
  CHECK(visits.seen == Names{"first", "second"});
  // It may go on elsewhere as long as it likes.
  visits.start(second, "second again", "|note");
  visits.settle();
  CHECK(visits.seen.size() == 3);
}

TEST_CASE("a delivery that goes elsewhere holds up the next one for a moment, once") {
  Visits visits;
  const Order::Place hanging(visits.order, "alice");
  Order::Place second(visits.order, "alice");
  visits.start(second, "second", "|note");
  visits.settle(Order::kCourtesy / 2);
  CHECK(visits.seen.empty());
  visits.settle(Order::kCourtesy);
  CHECK(visits.seen == Names{"second"});
  visits.start(second, "second", "/file");
  visits.settle();
  CHECK(visits.seen == Names{"second", "second"});
}

}  // namespace postern::local
