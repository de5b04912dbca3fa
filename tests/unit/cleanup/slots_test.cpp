#include "cleanup/slots.h"

#include <catch2/catch.hpp>
#include <vector>

namespace postern::cleanup {

namespace {

loop::Task<void> take_later(Slots& slots, Origin origin, loop::Deadline deadline,
                            std::vector<Slots::Slot>& taken, int& refused) {
  Slots::Slot slot = co_await slots.wait(origin, deadline);
  if (slot) {
    taken.push_back(std::move(slot));
  } else {
    ++refused;
  }
}

}  // namespace

TEST_CASE("without a limit there is always a slot") {
  Slots slots;
  std::vector<Slots::Slot> taken;
  for (int i = 0; i < 1000; ++i) taken.push_back(slots.take());
  CHECK(slots.has_room(Origin::kClient));
}

TEST_CASE("clients leave slots for the system's own mail") {
  struct Case {
    std::size_t limit, reserve, clients;
  };
  const auto c = GENERATE(values<Case>({{10, 3, 7}, {10, 20, 5}, {1, 20, 1}, {10, 0, 10}}));
  Slots slots;
  slots.configure(c.limit, c.reserve);
  std::vector<Slots::Slot> taken;
  while (slots.has_room(Origin::kClient)) taken.push_back(slots.take());
  CHECK(taken.size() == c.clients);
  while (slots.has_room(Origin::kInternal)) taken.push_back(slots.take());
  CHECK(taken.size() == c.limit);
}

TEST_CASE("who waits gets the slot that is given back, and nothing after its time") {
  loop::Loop loop;
  Slots slots;
  slots.configure(2, 1);
  std::vector<Slots::Slot> first;
  first.push_back(slots.take());

  std::vector<Slots::Slot> later;
  int refused = 0;
  loop::spawn(take_later(slots, Origin::kClient, loop::kNever, later, refused));
  loop::spawn(take_later(slots, Origin::kInternal, loop::kNever, later, refused));
  CHECK(later.size() == 1);  // the internal one
  loop::spawn(take_later(slots, Origin::kClient, loop::Clock::now() + std::chrono::milliseconds(1),
                         later, refused));

  loop::CallbackTimer free([&] {
    CHECK(refused == 1);
    first.clear();
    later.clear();
  });
  free.arm(loop::Clock::now() + std::chrono::milliseconds(50));
  loop::CallbackTimer stop([&] { loop.stop(); });
  stop.arm(loop::Clock::now() + std::chrono::milliseconds(100));
  loop.run();
  CHECK(later.size() == 1);
  CHECK(refused == 1);
}

TEST_CASE("a limit that is lifted lets all go on") {
  loop::Loop loop;
  Slots slots;
  slots.configure(2, 1);
  std::vector<Slots::Slot> taken;
  taken.reserve(8);
  taken.push_back(slots.take());
  int refused = 0;
  for (int i = 0; i < 5; ++i) {
    loop::spawn(take_later(slots, Origin::kClient, loop::kNever, taken, refused));
  }
  CHECK(taken.size() == 1);
  loop::CallbackTimer lift([&] { slots.configure(0, 1); });
  lift.arm(loop::Clock::now());
  loop::CallbackTimer stop([&] { loop.stop(); });
  stop.arm(loop::Clock::now() + std::chrono::milliseconds(50));
  loop.run();
  CHECK(taken.size() == 6);
}

}  // namespace postern::cleanup
