// large_pages.h - a hint for buffers of megabytes that are filled at once.

#pragma once

#include <cstddef>

namespace postern::sys {

// A page fault for each 4 KiB is what filling such a buffer spends most of its time on. To be
// called before the first use of the memory; without effect on small buffers and where the system
// has no large pages to give.
void prefer_large_pages(void* memory, std::size_t size);

}  // namespace postern::sys
