// slots.h - how many messages are taken in at once, where master.cf limits it.
//
// A message waits for its slot; what has come of it meanwhile waits in its own bounded buffer.
// Mail of the system itself (bounces, forwarded and local mail) may have all slots, that of clients
// leaves some: a client's message may be finished only after a bounce or a forwarded one is, and
// the other way round they would wait for each other for ever.

#pragma once

#include <cstddef>
#include <utility>

#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::cleanup {

enum class Origin : unsigned char { kClient, kInternal };

class Slots {
 public:
  // One message's slot, given back at the end of its life. An empty one holds nothing.
  class Slot {
   public:
    Slot() = default;
    Slot(Slot&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)) {}
    Slot& operator=(Slot&& other) noexcept {
      std::swap(slots_, other.slots_);
      return *this;
    }
    ~Slot() {
      if (slots_ != nullptr) slots_->give_back();
    }
    [[nodiscard]] explicit operator bool() const { return slots_ != nullptr; }

   private:
    friend class Slots;
    explicit Slot(Slots& slots) : slots_(&slots) {}
    Slots* slots_ = nullptr;
  };

  // `limit` slots in all, 0 for no limit. Of them clients leave `reserve`, at most half.
  void configure(std::size_t limit, std::size_t reserve);
  [[nodiscard]] bool has_room(Origin origin) const;
  // Precondition: has_room().
  [[nodiscard]] Slot take();
  // Waits for room; an empty slot when there was none until `deadline`.
  [[nodiscard]] loop::Task<Slot> wait(Origin origin, loop::Deadline deadline);

 private:
  void give_back();
  void wake();

  std::size_t limit_ = 0;
  std::size_t reserve_ = 0;
  std::size_t taken_ = 0;
  loop::Condition internal_;
  loop::Condition client_;
};

}  // namespace postern::cleanup
