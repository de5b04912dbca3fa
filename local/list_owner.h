// list_owner.h - files of addresses: what is in them, and whose they are beyond tricks with links.
//
// What a list names is done with the rights of its owner. Who can put a symbolic link in the list's
// path, and no more, is not to choose a file of somebody else's in which there happens to be a
// command: a mailbox, to which everybody writes.

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "common/base/result.h"

namespace postern::local {

struct ListOwner {
  // Nothing where a link on the way is neither root's nor this owner's.
  std::optional<uid_t> uid;
  // The file that was looked at. What is opened under its name later may be another.
  dev_t device = 0;
  ino_t inode = 0;
};

// Looks at the file of this absolute name, step by step. An error names what cannot be looked at,
// also for more links than the kernel would follow. Blocks.
[[nodiscard]] Result<ListOwner> find_list_owner(const std::string& path);

// The text of an open list or .forward file, from its start. A temporary error for what cannot be
// read, or has more than 4 MiB. Blocks as long as a local file does.
[[nodiscard]] Result<std::string> read_list_file(int fd);

}  // namespace postern::local
