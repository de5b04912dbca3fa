// process.h - starting another program with nothing of ours but what is named.

#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::sys {

struct Launch {
  std::string path;                      // absolute
  std::vector<std::string> arguments;    // argv, with argv[0]
  std::vector<std::string> environment;  // NAME=value
  // What becomes descriptor 0, 1 and 2; -1 is /dev/null.
  int input = -1;
  int output = -1;
  int error = -1;
  std::vector<int> descriptors;  // become 3, 4, ...
  int network = -1;              // a network namespace to run in; -1 is ours
};

// fork and exec. Descriptors not named are closed, signals are as at the start of a process. A
// program that cannot be executed ends with status 127 and a line on its standard error.
// Precondition: this process has one thread.
[[nodiscard]] Result<pid_t> launch(const Launch& launch);

// At the start of a program that anybody may start: what it opens does not become its input, its
// output or where its errors go. False where that cannot be had.
[[nodiscard]] bool fill_standard_descriptors();

// A file in memory that nobody can change any more; read it with pread.
[[nodiscard]] Result<Fd> sealed_memory(std::string_view name, std::string_view bytes);

}  // namespace postern::sys
