#include "local/order.h"

#include <algorithm>
#include <ranges>

namespace postern::local {

Order::Place::Place(Order& order, std::string user)
    : order_(order), user_(order.users_.try_emplace(std::move(user)).first) {
  auto& deliveries = user_->second.deliveries;
  self_ = deliveries.insert(deliveries.end(), this);
}

Order::Place::~Place() {
  user_->second.deliveries.erase(self_);
  if (user_->second.deliveries.empty()) {
    order_.users_.erase(user_);
  } else {
    user_->second.moved.notify_all();
  }
}

bool Order::Place::is_first_at(const std::string& what) const {
  const auto before = std::ranges::subrange(user_->second.deliveries.begin(),
                                            std::list<const Place*>::const_iterator(self_));
  return std::ranges::all_of(before,
                             [&](const Place* place) { return place->been_at_.contains(what); });
}

loop::Task<void> Order::Place::go_to(std::string what) {
  const auto deadline = loop::Clock::now() + kCourtesy;
  while (is_patient_ && !is_first_at(what)) {
    is_patient_ = co_await user_->second.moved.wait(deadline) == loop::Wait::kReady;
  }
  been_at_.insert(std::move(what));
  user_->second.moved.notify_all();
}

}  // namespace postern::local
