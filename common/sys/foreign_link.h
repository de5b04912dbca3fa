// foreign_link.h - opens a file in a directory that others may change.

#pragma once

#include <string>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::sys {

// As open(2), but a symbolic link in the file's own place counts only where root or the caller has
// made it: whoever may write to the directory does not choose what is opened with other rights than
// his. errno is that of open(2), ELOOP for such a link. `flags` without O_CREAT.
[[nodiscard]] Result<Fd> open_but_foreign_link(std::string path, int flags);

}  // namespace postern::sys
