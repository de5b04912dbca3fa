#include "qmgr/transport.h"

#include <algorithm>
#include <utility>

#include "common/base/keyed_hash.h"

namespace postern::qmgr {

namespace {

// Names that strangers choose.
std::uint32_t hash_of(std::string_view nexthop) {
  return static_cast<std::uint32_t>(KeyedHash()(nexthop));
}

// Before a destination has its turn: its own memory, then what it has to be delivered.
void look_ahead(const std::deque<Destination*>& list) {
  if (list.size() > 6) list[6]->prefetch();
  if (list.size() > 3) list[3]->prefetch_job();
  if (list.size() > 1) list[1]->prefetch_message();
}

}  // namespace

Destination& Transport::destination(std::string_view nexthop) {
  const std::uint32_t hash = hash_of(nexthop);
  const Slot known =
      index_.find(hash, [&](Slot slot) { return destinations_[slot].nexthop() == nexthop; });
  if (known != kNoSlot) {
    destinations_[known].was_idle = false;
    return destinations_[known];
  }
  const Slot added = destinations_.add(nexthop, limits_);
  index_.add(hash, added);
  return destinations_[added];
}

void Transport::put_into(std::deque<Destination*>& list, Destination& destination) {
  list.push_back(&destination);
  ++destination.places;
}

void Transport::list(Destination& destination) {
  using List = Destination::List;
  if (!destination.has_jobs() || destination.list == List::kNewMail) return;
  if (destination.has_new_mail()) {
    // Its place among the others, if it has one, is passed over.
    destination.list = List::kNewMail;
    put_into(with_new_mail_, destination);
  } else if (destination.list == List::kNone) {
    destination.list = List::kOldMail;
    put_into(with_old_mail_, destination);
  }
}

Destination* Transport::take_listed() {
  using List = Destination::List;
  while (has_work()) {
    const bool is_new = with_old_mail_.empty() || (!is_old_ones_turn_ && !with_new_mail_.empty());
    auto& list = is_new ? with_new_mail_ : with_old_mail_;
    Destination* const first = list.front();
    list.pop_front();
    --first->places;
    look_ahead(list);
    if (first->list != (is_new ? List::kNewMail : List::kOldMail)) continue;
    is_old_ones_turn_ = is_new;
    first->list = List::kNone;
    return first;
  }
  return nullptr;
}

Destination* Transport::next(loop::TimePoint now, loop::TimePoint& wake_at) {
  while (!delayed_.empty() && delayed_.top().until <= now) {
    Destination* due = delayed_.top().destination;
    delayed_.pop();
    due->is_delayed = false;
    list(*due);
  }
  while (Destination* const first = take_listed()) {
    if (!first->has_jobs()) continue;
    if (first->is_open(limits_, now)) return first;
    // A full window: the delivery that ends lists it again. A pause: the clock does.
    if (first->in_flight() == 0 && !first->is_delayed) {
      first->is_delayed = true;
      delayed_.push({first->next_start(), first});
    }
  }
  if (!delayed_.empty()) wake_at = std::min(wake_at, delayed_.top().until);
  return nullptr;
}

void Transport::for_each(const std::function<void(Destination&)>& call) {
  destinations_.for_each([&](Slot slot) { call(destinations_[slot]); });
}

void Transport::forget_idle(loop::TimePoint now) {
  destinations_.for_each([&](Slot slot) {
    Destination& destination = destinations_[slot];
    if (!destination.is_forgettable(now)) return;
    if (!std::exchange(destination.was_idle, true)) return;
    index_.erase(hash_of(destination.nexthop()), slot);
    destinations_.erase(slot);
  });
}

}  // namespace postern::qmgr
