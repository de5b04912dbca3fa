// slab.h - room for very many things of one kind, which never move and are named by a number of
// four bytes.
//
// Each block is twice as large as the one before it: from a number to its thing it is one look at a
// list of some twenty blocks.

#pragma once

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "qmgr/wide_memory.h"

namespace postern::qmgr {

// Of a thing, good until it is given back.
using Slot = std::uint32_t;
inline constexpr Slot kNoSlot = std::numeric_limits<Slot>::max();

template <typename T>
class Slab {
  static_assert(sizeof(T) >= sizeof(Slot) && alignof(T) >= alignof(Slot));

 public:
  Slab() = default;
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() {
    for_each([this](Slot slot) { std::destroy_at(place(slot)); });
    for (unsigned i = 0; i < blocks_.size(); ++i) {
      if (blocks_[i] != nullptr) give_memory(blocks_[i], size_of(i));
    }
  }

  [[nodiscard]] T& operator[](Slot slot) { return *place(slot); }
  [[nodiscard]] const T& operator[](Slot slot) const { return *place(slot); }

  // Makes one.
  template <typename... Arguments>
  [[nodiscard]] Slot add(Arguments&&... arguments) {
    const Slot slot = take();
    std::construct_at(place(slot), std::forward<Arguments>(arguments)...);
    is_there_[slot / kBits] |= std::uint64_t{1} << (slot % kBits);
    return slot;
  }
  void erase(Slot slot) {
    is_there_[slot / kBits] &= ~(std::uint64_t{1} << (slot % kBits));
    std::destroy_at(place(slot));
    std::construct_at(reinterpret_cast<Slot*>(place(slot)), std::exchange(free_, slot));
  }
  void prefetch(Slot slot) const { __builtin_prefetch(place(slot)); }

  // All of them, in the order in which they lie; `call` may erase the one that it is given.
  template <typename Call>
  void for_each(Call call) const {
    for (std::size_t word = 0; word < is_there_.size(); ++word) {
      for (std::uint64_t left = is_there_[word]; left != 0; left &= left - 1) {
        call(static_cast<Slot>(word * kBits) + static_cast<Slot>(std::countr_zero(left)));
      }
    }
  }

 private:
  // Few, where there are few messages.
  static constexpr Slot kFirst = 256;
  static constexpr unsigned kFirstBits = 8;

  static constexpr unsigned kBits = 64;

  static unsigned block_of(Slot slot) {
    return static_cast<unsigned>(std::bit_width(slot + kFirst)) - kFirstBits - 1;
  }
  static std::size_t size_of(unsigned block) { return (std::size_t{kFirst} << block) * sizeof(T); }
  [[nodiscard]] T* place(Slot slot) const {
    const Slot numbered = slot + kFirst;
    return blocks_[block_of(slot)] + (numbered - std::bit_floor(numbered));
  }

  [[nodiscard]] Slot take() {
    if (free_ != kNoSlot) {
      const Slot slot = free_;
      free_ = *reinterpret_cast<const Slot*>(place(slot));
      return slot;
    }
    assert(used_ < kNoSlot - kFirst);
    const unsigned block = block_of(used_);
    if (blocks_[block] == nullptr) blocks_[block] = static_cast<T*>(take_memory(size_of(block)));
    if (used_ % kBits == 0) is_there_.push_back(0);
    return used_++;
  }

  std::array<T*, 32 - kFirstBits> blocks_{};
  std::vector<std::uint64_t> is_there_;  // a bit for each slot
  Slot free_ = kNoSlot;                  // the last one that was erased: it names the one before
  Slot used_ = 0;                        // slots that were ever taken
};

}  // namespace postern::qmgr
