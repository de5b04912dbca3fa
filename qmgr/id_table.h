// id_table.h - what is known of messages, by queue id, for a million of them.
//
// Entries lie in chunks that never move, and are named by a number of four bytes. The way from an
// id to its entry is a table of such numbers, with a part of the id's hash beside each (open
// addressing, linear probing): a look-up touches one place of it and the entry, where a hash table
// of nodes touches four or five. That is what a look-up costs when nothing of it is in the cache.

#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postern::qmgr {

template <typename Value>
class IdTable {
 public:
  // Of an entry, good until it is erased.
  using Slot = std::uint32_t;
  static constexpr Slot kNone = std::numeric_limits<Slot>::max();

  [[nodiscard]] std::size_t size() const { return size_; }
  // kNone where there is none.
  [[nodiscard]] Slot find(std::string_view id) const {
    return cells_.empty() ? kNone : cells_[place_of(id, hash_of(id))].slot;
  }
  // The entry of the id, made where it is missing.
  [[nodiscard]] Slot find_or_add(std::string_view id) {
    if ((size_ + 1) * 4 > cells_.size() * 3) grow();
    const std::uint32_t hash = hash_of(id);
    Cell& cell = cells_[place_of(id, hash)];
    if (cell.slot == kNone) {
      cell = {hash, take_slot()};
      node(cell.slot).id = id;
      node(cell.slot).hash = hash;
      ++size_;
    }
    return cell.slot;
  }
  // Precondition: the entry is there.
  void erase(Slot slot) {
    Node& erased = node(slot);
    std::size_t hole = erased.hash & (cells_.size() - 1);
    while (cells_[hole].slot != slot) hole = after(hole);
    // What stands behind it and would stand in its place if it could moves up: no search may end
    // at the hole.
    for (std::size_t next = after(hole); cells_[next].slot != kNone; next = after(next)) {
      const std::size_t wanted = cells_[next].hash & (cells_.size() - 1);
      const std::size_t mask = cells_.size() - 1;
      if (((next - wanted) & mask) < ((next - hole) & mask)) continue;
      cells_[hole] = std::exchange(cells_[next], Cell{});
      hole = next;
    }
    cells_[hole] = {};
    erased = {};
    free_.push_back(slot);
    --size_;
  }

  [[nodiscard]] const std::string& id(Slot slot) const { return node(slot).id; }
  [[nodiscard]] Value& operator[](Slot slot) { return node(slot).value; }
  [[nodiscard]] const Value& operator[](Slot slot) const { return node(slot).value; }

  // All of them, in no order; `call` may erase the one that it is given.
  template <typename Call>
  void for_each(Call call) const {
    for (Slot slot = 0; slot < used_; ++slot) {
      if (!node(slot).id.empty()) call(slot);
    }
  }

 private:
  // Few, where there are few messages.
  static constexpr std::size_t kChunk = 256;
  static constexpr std::size_t kFirstCells = 64;

  struct Node {
    std::string id{};  // empty: free
    std::uint32_t hash = 0;
    Value value{};
  };
  struct Cell {
    std::uint32_t hash = 0;
    Slot slot = kNone;
  };

  // Ids are our own making: nobody outside chooses them so that they collide.
  static std::uint32_t hash_of(std::string_view id) {
    const std::uint64_t hash = std::hash<std::string_view>()(id);
    return static_cast<std::uint32_t>(hash ^ (hash >> 32U));
  }
  [[nodiscard]] std::size_t after(std::size_t place) const {
    return (place + 1) & (cells_.size() - 1);
  }
  // Where the id is, or the free place where it would be.
  [[nodiscard]] std::size_t place_of(std::string_view id, std::uint32_t hash) const {
    std::size_t place = hash & (cells_.size() - 1);
    while (cells_[place].slot != kNone &&
           (cells_[place].hash != hash || node(cells_[place].slot).id != id)) {
      place = after(place);
    }
    return place;
  }
  [[nodiscard]] Node& node(Slot slot) { return chunks_[slot / kChunk][slot % kChunk]; }
  [[nodiscard]] const Node& node(Slot slot) const { return chunks_[slot / kChunk][slot % kChunk]; }

  Slot take_slot() {
    if (!free_.empty()) {
      const Slot slot = free_.back();
      free_.pop_back();
      return slot;
    }
    assert(used_ < kNone);
    if (used_ == chunks_.size() * kChunk) chunks_.push_back(std::make_unique<Node[]>(kChunk));
    return used_++;
  }
  void grow() {
    const std::vector<Cell> old =
        std::exchange(cells_, std::vector<Cell>(std::max(kFirstCells, 2 * cells_.size())));
    for (const Cell& cell : old) {
      if (cell.slot == kNone) continue;
      std::size_t place = cell.hash & (cells_.size() - 1);
      while (cells_[place].slot != kNone) place = after(place);
      cells_[place] = cell;
    }
  }

  std::vector<std::unique_ptr<Node[]>> chunks_;
  std::vector<Cell> cells_;  // a power of two of them
  std::vector<Slot> free_;
  Slot used_ = 0;  // slots that were ever taken
  std::size_t size_ = 0;
};

}  // namespace postern::qmgr
