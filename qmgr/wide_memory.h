// wide_memory.h - memory for tables that hold something of every queued message.
//
// Whoever looks something up among a million pays for the page's translation before he pays for
// the line: what is large lies in large pages, where the system gives them to those who ask.

#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace postern::qmgr {

inline constexpr std::size_t kLine = 64;
inline constexpr std::size_t kLargePage = std::size_t{2} << 20U;

[[nodiscard]] inline std::align_val_t alignment_of(std::size_t size) {
  return std::align_val_t{size < kLargePage ? kLine : kLargePage};
}
// Aligned to a line. To be given back with the same size.
[[nodiscard]] inline void* take_memory(std::size_t size) {
  void* const memory = ::operator new(size, alignment_of(size));
  // No matter if it fails: it is a wish.
  if (size >= kLargePage) ::madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}
inline void give_memory(void* memory, std::size_t size) noexcept {
  ::operator delete(memory, size, alignment_of(size));
}

template <typename T>
struct WideAllocator {
  using value_type = T;
  WideAllocator() = default;
  template <typename Other>
  WideAllocator(const WideAllocator<Other>& /*other*/) {}
  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(take_memory(count * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t count) noexcept { give_memory(memory, count * sizeof(T)); }
  friend bool operator==(const WideAllocator&, const WideAllocator&) { return true; }
};

}  // namespace postern::qmgr
