// flush.h - fsync of several files at once.
//
// One after the other they are slow on a busy disk: the first fsync commits what all of them need,
// but each of the others still has the disk empty its own cache, and waits for that. Begun
// together they share both. The kernel does so for asynchronous requests (io_submit(2)), in threads
// of its own; where it does not take them, the files are flushed one by one.

#pragma once

#include <span>

namespace postern::sys {

// At most so many.
inline constexpr std::size_t kMaxFlushes = 128;

// Flushes each file as fsync(2) does, and waits for all of them. errors[i] is what became of
// fds[i]: 0 or an errno value. Preconditions: as many errors as descriptors, kMaxFlushes at most.
void flush_all(std::span<const int> fds, std::span<int> errors);

}  // namespace postern::sys
