// content.h - the body of a message on its way through the hashes.

#pragma once

#include <cstdint>
#include <string>

#include "common/base/result.h"
#include "common/ipc/mailauth.h"
#include "common/loop/task.h"
#include "common/loop/worker_pool.h"
#include "common/mailauth/canonical.h"
#include "common/sys/fd.h"

namespace postern::mailauth {

// All of the body, from the request or from `file`; nothing is read where no hash is wanted. An
// error is temporary. `file` is -1 when there is none; it, `content` and `hashes` outlive the task.
[[nodiscard]] loop::Task<Result<void>> hash_body(loop::WorkerPool& pool,
                                                 const ipc::mailauth::Content& content, int file,
                                                 BodyHashes* hashes);

// The body in pieces of some KiB, for who changes it before it is hashed.
class BodyReader {
 public:
  // As for hash_body(); all outlive this.
  BodyReader(loop::WorkerPool& pool, const ipc::mailauth::Content& content, int file)
      : pool_(pool), content_(content), file_(file) {}

  // Empty at the end.
  [[nodiscard]] loop::Task<Result<std::string>> next();

 private:
  loop::WorkerPool& pool_;
  const ipc::mailauth::Content& content_;
  int file_;
  std::uint64_t done_ = 0;
};

}  // namespace postern::mailauth
