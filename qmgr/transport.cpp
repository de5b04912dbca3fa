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
  for (std::size_t i = delayed_.size(); i-- > 0;) {
    if (delayed_[i]->next_start() > now) continue;
    Destination* due = delayed_[i];
    delayed_[i] = delayed_.back();
    delayed_.pop_back();
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
      delayed_.push_back(first);
    }
  }
  for (const Destination* waiting : delayed_) wake_at = std::min(wake_at, waiting->next_start());
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
