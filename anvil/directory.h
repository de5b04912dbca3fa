// directory.h - where anvil keeps its files: a directory of its account's own, below
// data_directory, which is mail_owner's alone.

#pragma once

#include <string>

#include "common/base/result.h"
#include "common/sys/fd.h"
#include "common/sys/privilege.h"

namespace postern::anvil {

// Makes data_directory/anvil, moves there what an earlier version has left in data_directory, and
// gives it all to `account` where this process is root. Files of others than the mail system's own
// accounts stay as they are. The descriptor finds files and is good for no more.
[[nodiscard]] Result<sys::Fd> open_directory(const std::string& data_directory,
                                             const sys::Account& account,
                                             const sys::Account& mail_owner);

}  // namespace postern::anvil
