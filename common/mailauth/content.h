// content.h - the body of a message on its way through the hashes.

#pragma once

#include "common/base/result.h"
#include "common/ipc/mailauth.h"
#include "common/loop/task.h"
#include "common/loop/worker_pool.h"
#include "common/mailauth/canonical.h"
#include "common/sys/fd.h"

namespace postern::mailauth {

// All of the body, from the request or from `file`; nothing is read where no hash is wanted. An
// error is temporary. `content` and `hashes` outlive the task.
[[nodiscard]] loop::Task<Result<void>> hash_body(loop::WorkerPool& pool,
                                                 const ipc::mailauth::Content& content,
                                                 sys::Fd file, BodyHashes* hashes);

}  // namespace postern::mailauth
