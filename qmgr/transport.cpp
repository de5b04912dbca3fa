#include "qmgr/transport.h"

#include <algorithm>
#include <unordered_set>

namespace postern::qmgr {

Destination& Transport::destination(const std::string& nexthop) {
  return destinations_.try_emplace(nexthop, nexthop, limits_).first->second;
}

void Transport::list(Destination& destination) {
  using List = Destination::List;
  if (!destination.has_jobs() || destination.list == List::kNewMail) return;
  if (destination.has_new_mail()) {
    // Its place among the others, if it has one, is passed over.
    destination.list = List::kNewMail;
    with_new_mail_.push_back(&destination);
  } else if (destination.list == List::kNone) {
    destination.list = List::kOldMail;
    with_old_mail_.push_back(&destination);
  }
}

Destination* Transport::take_listed() {
  using List = Destination::List;
  while (has_work()) {
    const bool is_new = with_old_mail_.empty() || (!is_old_ones_turn_ && !with_new_mail_.empty());
    auto& list = is_new ? with_new_mail_ : with_old_mail_;
    Destination* const first = list.front();
    list.pop_front();
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
  for (auto& [nexthop, destination] : destinations_) call(destination);
}

void Transport::forget_idle(loop::TimePoint now) {
  std::unordered_set<const Destination*> listed(with_new_mail_.begin(), with_new_mail_.end());
  listed.insert(with_old_mail_.begin(), with_old_mail_.end());
  std::erase_if(destinations_, [&](const auto& entry) {
    return entry.second.is_forgettable(now) && !listed.contains(&entry.second) &&
           !entry.second.is_delayed;
  });
}

}  // namespace postern::qmgr
