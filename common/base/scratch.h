// scratch.h - large buffers for bytes that are copied on before anybody else runs.

#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace postern {

// The buffer of this thread for `Owner`, of kSize bytes that are not cleared. It is made at the
// first use, and its pages take memory as they are used; a thread_local array takes all of it in
// every thread that starts. Valid until the thread ends, the content until the next co_await.
template <typename Owner, std::size_t kSize>
[[nodiscard]] std::span<char, kSize> scratch() {
  static thread_local const std::unique_ptr<char[]> buffer(new char[kSize]);
  return std::span<char, kSize>(buffer.get(), kSize);
}

}  // namespace postern
