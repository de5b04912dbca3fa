// act_as.h - doing one thing with another account's rights, for a privileged process.

#pragma once

#include <unistd.h>

#include "common/sys/privilege.h"

namespace postern::sys {

// While it lives, files are made, renamed and changed with the account's rights: a directory that
// belongs to somebody else may hold a symbolic link where a file is expected, and root would
// follow it. Does nothing for a process that is not root.
class ActAs {
 public:
  explicit ActAs(const Account& account) : active_(is_root() && account.uid != 0) {
    if (!active_) return;
    group_ = ::getegid();
    active_ = ::setegid(account.gid) == 0 && ::seteuid(account.uid) == 0;
  }
  ~ActAs() {
    if (!active_) return;
    // Cannot fail: the saved uid is still root.
    if (::seteuid(0) != 0 || ::setegid(group_) != 0) ::_exit(1);
  }
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;

 private:
  bool active_;
  gid_t group_ = 0;
};

}  // namespace postern::sys
