// own_fsync.h - fsync(2) of this test program and of the deliverers that it forks.

#pragma once

#include <string>
#include <vector>

namespace postern::agent {

struct Flushes {
  bool is_recording = false;
  std::string fails_for{};           // a path
  std::string hangs_below{};         // a directory: flushes in it wait ...
  std::string until_there_is{};      // ... for this file
  std::vector<std::string> paths{};  // what was flushed
};

// Of this process; a child begins with its parent's.
[[nodiscard]] Flushes& flushes();

}  // namespace postern::agent
