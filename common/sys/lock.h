// lock.h - whole-file locks by which one process tells others that it lives.
//
// flock(2): the lock ends with the last descriptor, so a process that is killed holds none.

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::sys {

// Opens the file, making it where it is missing, and locks it without waiting. Nothing when another
// process holds the lock. Never follows a symbolic link at the end of the path.
[[nodiscard]] Result<std::optional<Fd>> try_lock_file(const std::string& path, mode_t mode);

// Whether another process holds the lock of the file. A file that is not there is not locked.
[[nodiscard]] Result<bool> is_file_locked(const std::string& path);

}  // namespace postern::sys
