// id_table.h - what is known of messages, by queue id, for a million of them.
//
// Entries lie in a Slab, and a SlotIndex leads to them. An entry has its id in itself, so that one
// line of memory tells both whose it is and what it says.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "qmgr/short_text.h"
#include "qmgr/slab.h"
#include "qmgr/slot_index.h"

namespace postern::qmgr {

// Ids are our own making: nobody outside chooses them so that they collide.
[[nodiscard]] inline std::uint32_t hash_of_id(std::string_view id) {
  const std::uint64_t hash = std::hash<std::string_view>()(id);
  return static_cast<std::uint32_t>(hash ^ (hash >> 32U));
}

template <typename Value>
class IdTable {
 public:
  // Of an entry, good until it is erased.
  using Slot = qmgr::Slot;
  static constexpr Slot kNone = kNoSlot;

  [[nodiscard]] std::size_t size() const { return index_.size(); }
  // kNone where there is none.
  [[nodiscard]] Slot find(std::string_view id) const { return find(id, hash_of_id(id)); }
  // The entry of the id, made where it is missing.
  [[nodiscard]] Slot find_or_add(std::string_view id) {
    const std::uint32_t hash = hash_of_id(id);
    if (const Slot known = find(id, hash); known != kNone) return known;
    const Slot slot = nodes_.add(Id(id), hash);
    index_.add(hash, slot);
    return slot;
  }
  // Precondition: the entry is there.
  void erase(Slot slot) {
    index_.erase(nodes_[slot].hash, slot);
    nodes_.erase(slot);
  }

  [[nodiscard]] std::string_view id(Slot slot) const { return nodes_[slot].id; }
  [[nodiscard]] Value& operator[](Slot slot) { return nodes_[slot].value; }
  [[nodiscard]] const Value& operator[](Slot slot) const { return nodes_[slot].value; }

  // The entry will be asked for, or erased, in a moment; `hash` is its own.
  [[nodiscard]] std::uint32_t hash(Slot slot) const { return nodes_[slot].hash; }
  void prefetch(Slot slot, std::uint32_t hash) const {
    nodes_.prefetch(slot);
    index_.prefetch(hash);
  }

  // All of them, in no order; `call` may erase the one that it is given.
  template <typename Call>
  void for_each(Call call) const {
    nodes_.for_each(call);
  }

 private:
  // Longer than the long form of queue ids.
  using Id = ShortText<24>;
  struct Node {
    Node(Id an_id, std::uint32_t a_hash) : id(std::move(an_id)), hash(a_hash) {}
    Id id;
    Value value{};
    std::uint32_t hash;
  };

  [[nodiscard]] Slot find(std::string_view id, std::uint32_t hash) const {
    return index_.find(hash, [&](Slot slot) { return nodes_[slot].id.view() == id; });
  }

  Slab<Node> nodes_;
  SlotIndex index_;
};

}  // namespace postern::qmgr
