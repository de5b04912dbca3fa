// slot_index.h - from a name to the slot of a Slab.
//
// A table of slots with a part of the name's hash beside each (open addressing, linear probing): a
// look-up touches one place of it and the thing itself, where a hash table of nodes touches four or
// five. That is what a look-up costs when nothing of it is in the cache.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "qmgr/slab.h"

namespace postern::qmgr {

class SlotIndex {
 public:
  [[nodiscard]] std::size_t size() const { return size_; }
  // The slot of this hash of which `is_it` says so; kNoSlot where there is none.
  template <typename IsIt>
  [[nodiscard]] Slot find(std::uint32_t hash, IsIt is_it) const {
    if (cells_.empty()) return kNoSlot;
    std::size_t place = wanted(hash);
    while (cells_[place].slot != kNoSlot &&
           (cells_[place].hash != hash || !is_it(cells_[place].slot))) {
      place = after(place);
    }
    return cells_[place].slot;
  }
  // Precondition: it is not there.
  void add(std::uint32_t hash, Slot slot) {
    if ((size_ + 1) * 4 > cells_.size() * 3) grow();
    place({hash, slot});
    ++size_;
  }
  // Precondition: it is there.
  void erase(std::uint32_t hash, Slot slot) {
    std::size_t hole = wanted(hash);
    while (cells_[hole].slot != slot) hole = after(hole);
    // What stands behind it and would stand in its place if it could moves up: no search may end
    // at the hole.
    for (std::size_t next = after(hole); cells_[next].slot != kNoSlot; next = after(next)) {
      const std::size_t mask = cells_.size() - 1;
      if (((next - wanted(cells_[next].hash)) & mask) < ((next - hole) & mask)) continue;
      cells_[hole] = std::exchange(cells_[next], Cell{});
      hole = next;
    }
    cells_[hole] = {};
    --size_;
  }
  void prefetch(std::uint32_t hash) const {
    if (!cells_.empty()) __builtin_prefetch(&cells_[wanted(hash)], 1);
  }

 private:
  static constexpr std::size_t kFirstCells = 64;

  struct Cell {
    std::uint32_t hash = 0;
    Slot slot = kNoSlot;
  };
  using Cells = std::vector<Cell, WideAllocator<Cell>>;

  [[nodiscard]] std::size_t wanted(std::uint32_t hash) const { return hash & (cells_.size() - 1); }
  [[nodiscard]] std::size_t after(std::size_t place) const {
    return (place + 1) & (cells_.size() - 1);
  }
  void place(Cell cell) {
    std::size_t place = wanted(cell.hash);
    while (cells_[place].slot != kNoSlot) place = after(place);
    cells_[place] = cell;
  }
  void grow() {
    const Cells old = std::exchange(cells_, Cells(std::max(kFirstCells, 2 * cells_.size())));
    for (const Cell& cell : old) {
      if (cell.slot != kNoSlot) place(cell);
    }
  }

  Cells cells_;  // a power of two of them
  std::size_t size_ = 0;
};

}  // namespace postern::qmgr
