#include "common/sys/large_pages.h"

#include <sys/mman.h>

#include <bit>
#include <cstdint>

namespace postern::sys {

void prefer_large_pages(void* memory, std::size_t size) {
  constexpr std::uintptr_t kLargePage = std::uintptr_t{2} << 20U;
  const auto begin = std::bit_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (begin + kLargePage - 1) & ~(kLargePage - 1);
  const std::uintptr_t last = (begin + size) & ~(kLargePage - 1);
  if (last > first) ::madvise(std::bit_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

}  // namespace postern::sys
