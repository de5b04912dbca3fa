// pam.h - passwords by PAM, in a worker: modules block, and sleep after a failure.

#pragma once

#include "auth/jobs.h"

namespace postern::auth {

// kDone, kFailed, or kTemporary where the modules could not tell.
[[nodiscard]] JobReply ask_pam(const Job& job);

}  // namespace postern::auth
