#include "cleanup/slots.h"

#include <algorithm>

namespace postern::cleanup {

void Slots::configure(std::size_t limit, std::size_t reserve) {
  limit_ = limit;
  reserve_ = std::min(reserve, limit / 2);
  internal_.notify_all();
  client_.notify_all();
}

bool Slots::has_room(Origin origin) const {
  if (limit_ == 0) return true;
  const std::size_t room = origin == Origin::kInternal ? limit_ : limit_ - reserve_;
  return taken_ < room;
}

Slots::Slot Slots::take() {
  ++taken_;
  return Slot(*this);
}

loop::Task<Slots::Slot> Slots::wait(Origin origin, loop::Deadline deadline) {
  loop::Condition& turn = origin == Origin::kInternal ? internal_ : client_;
  while (!has_room(origin)) {
    const loop::Wait waited = co_await turn.wait(deadline);
    if (waited == loop::Wait::kTimeout) co_return Slot();
  }
  co_return take();
}

void Slots::give_back() {
  --taken_;
  wake();
}

// One of each is enough: who finds no room waits again, and the next slot wakes it.
void Slots::wake() {
  if (has_room(Origin::kInternal)) internal_.notify_one();
  if (has_room(Origin::kClient)) client_.notify_one();
}

}  // namespace postern::cleanup
