// own_fsync.h - fsync(2) of this test program and of the deliverers that it forks.

#pragma once

#include <string>
#include <vector>

namespace postern::agent {

struct Flushes {
  bool is_recording = false;
  std::string fails_for{};  // a path
  // Flushes of what has a name that begins so wait for this file. The name is PLACE/NAME, and there
  // is a file PLACE/NAME.hangs from then on.
  std::string hangs_below{};
  std::string until_there_is{};
  std::vector<std::string> paths{};  // what was flushed
};

// Of this process; a child begins with its parent's.
[[nodiscard]] Flushes& flushes();

}  // namespace postern::agent
