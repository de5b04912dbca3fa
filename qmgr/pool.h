// pool.h - things of one kind that come and go all the time share pieces of memory.
//
// What is made next lies where the last one was that went: it is still in the cache, and ten
// thousand of them lie close together. Of one thread only.

#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <utility>

#include "qmgr/wide_memory.h"

namespace postern::qmgr {

// To be derived from by T itself, which nothing derives from.
template <typename T>
struct FromPool {
// A sanitizer is to see what is used after its end.
#if !__has_feature(address_sanitizer)
  static void* operator new(std::size_t size) {
    if (free_ == nullptr) more(size);
    return std::exchange(free_, free_->next);
  }
  static void operator delete(void* memory) { free_ = new (memory) Free{free_}; }

 private:
  struct Free {
    Free* next;
  };
  static void more(std::size_t size) {
    const std::size_t count = next_count_;
    char* const block = static_cast<char*>(take_memory(count * size));
    for (std::size_t i = count; i > 0; --i) free_ = new (block + (i - 1) * size) Free{free_};
    if (count * size < kLargePage) next_count_ *= 2;
  }
  inline static Free* free_ = nullptr;
  inline static std::size_t next_count_ = 32;
#endif
};

}  // namespace postern::qmgr
