// order.h - mail for one user keeps its order where only one delivery at a time can be at work.
//
// Deliveries run side by side, and one that finds everything in a cache overtakes the one before
// it. Commands and mbox files show who was first: there a delivery lets those go ahead that came
// before it to the same user. That is a courtesy and no promise, so it waits a second at most.

#pragma once

#include <list>
#include <map>
#include <set>
#include <string>

#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::local {

class Order {
 public:
  class Place;

 private:
  struct User {
    std::list<const Place*> deliveries{};  // as they came
    loop::Condition moved{};
  };

 public:
  // A delivery to one user, from its arrival to its end. It must not outlive the Order.
  class Place {
   public:
    Place(Order& order, std::string user);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    // Returns when each delivery that came before has been at `what` or has ended, or after
    // kCourtesy, once. The caller goes there at once: the next ones may follow.
    [[nodiscard]] loop::Task<void> go_to(std::string what);

   private:
    [[nodiscard]] bool is_first_at(const std::string& what) const;

    Order& order_;
    std::map<std::string, User>::iterator user_;
    std::list<const Place*>::iterator self_;
    std::set<std::string> been_at_;
    bool is_patient_ = true;
  };

  static constexpr std::chrono::milliseconds kCourtesy{1000};

  Order() = default;
  Order(const Order&) = delete;
  Order& operator=(const Order&) = delete;

 private:
  std::map<std::string, User> users_;
};

}  // namespace postern::local
