// maker.h - makes workers, and has nothing else to do: a process that is forked before the front of
// the daemon drops its rights, and so keeps those that the back end needs.
//
// Each packet it gets holds a socket; a worker is made for it. It and the workers end with the
// front.

#pragma once

#include "common/base/result.h"
#include "common/sys/fd.h"
#include "common/sys/privilege.h"

namespace postern::auth {

// `account`: whose rights the workers get, with all its groups; null keeps those of now. Gives the
// front's end, non-blocking.
[[nodiscard]] Result<sys::Fd> fork_maker(const sys::Account* account);

}  // namespace postern::auth
