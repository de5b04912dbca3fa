// message_table.h - the active messages, by queue id.

#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "qmgr/id_table.h"
#include "qmgr/message.h"
#include "qmgr/slab.h"
#include "qmgr/slot_index.h"

namespace postern::qmgr {

// A message's id is in the message alone: whoever looks for it wants the message.
class MessageTable {
 public:
  [[nodiscard]] std::size_t size() const { return index_.size(); }
  // nullptr where there is none.
  [[nodiscard]] Message* find(std::string_view id) const {
    const Slot slot = slot_of(id);
    return slot == kNoSlot ? nullptr : messages_[slot].get();
  }
  // Takes the place of a message of the same id.
  void add(std::unique_ptr<Message> message) {
    if (const Slot known = slot_of(message->id); known != kNoSlot) {
      messages_[known] = std::move(message);
      return;
    }
    const std::uint32_t hash = hash_of_id(message->id);
    index_.add(hash, messages_.add(std::move(message)));
  }
  // Precondition: it is there. The message is gone then.
  void erase(const Message& message) {
    const Slot slot = slot_of(message.id);
    index_.erase(hash_of_id(message.id), slot);
    messages_.erase(slot);
  }
  // All of them, in no order.
  template <typename Call>
  void for_each(Call call) const {
    messages_.for_each([&](Slot slot) { call(*messages_[slot]); });
  }

 private:
  [[nodiscard]] Slot slot_of(std::string_view id) const {
    return index_.find(hash_of_id(id), [&](Slot slot) { return messages_[slot]->id == id; });
  }

  Slab<std::unique_ptr<Message>> messages_;
  SlotIndex index_;
};

}  // namespace postern::qmgr
