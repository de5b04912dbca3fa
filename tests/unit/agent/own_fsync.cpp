#include "tests/unit/agent/own_fsync.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace postern::agent {

Flushes& flushes() {
  static Flushes all;
  return all;
}

}  // namespace postern::agent

extern "C" int fsync(int fd) {
  namespace fs = std::filesystem;
  auto& flushes = postern::agent::flushes();
  std::error_code error;
  const std::string path = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
  if (flushes.is_recording) flushes.paths.push_back(path);
  if (path == flushes.fails_for) {
    errno = EIO;
    return -1;
  }
  if (!flushes.hangs_below.empty() && path.starts_with(flushes.hangs_below)) {
    const auto end = path.find('/', flushes.hangs_below.size());
    std::ofstream(path.substr(0, end) + ".hangs") << "\n";
    while (!fs::exists(flushes.until_there_is, error)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
