#include "qmgr/transport.h"

#include <algorithm>

namespace postern::qmgr {

Destination& Transport::destination(const std::string& nexthop) {
  auto& place = destinations_[nexthop];
  if (place == nullptr) place = std::make_unique<Destination>(nexthop, limits_);
  return *place;
}

void Transport::list(Destination& destination) {
  if (destination.is_listed || !destination.has_jobs()) return;
  destination.is_listed = true;
  listed_.push_back(&destination);
}

Destination* Transport::next(loop::TimePoint now, loop::TimePoint& wake_at) {
  while (!delayed_.empty() && delayed_.top().until <= now) {
    Destination* due = delayed_.top().destination;
    delayed_.pop();
    due->is_delayed = false;
    list(*due);
  }
  while (!listed_.empty()) {
    Destination* first = listed_.front();
    listed_.pop_front();
    first->is_listed = false;
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
  for (auto& [nexthop, destination] : destinations_) call(*destination);
}

void Transport::forget_idle(loop::TimePoint now) {
  std::erase_if(destinations_, [&](const auto& entry) {
    return entry.second->is_forgettable(now) && !entry.second->is_listed &&
           !entry.second->is_delayed;
  });
}

}  // namespace postern::qmgr
