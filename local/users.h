// users.h - who is in passwd, asked without holding up the loop and kept for a few seconds.

#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/base/result.h"
#include "common/loop/task.h"
#include "common/loop/worker_pool.h"

namespace postern::local {

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
  std::string shell;
};

class Users {
 public:
  explicit Users(loop::WorkerPool& pool) : pool_(pool) {}

  // Nothing when there is no such user; an error when the name service does not answer.
  [[nodiscard]] loop::Task<Result<std::optional<User>>> find(std::string name);
  // Whose the uid is.
  [[nodiscard]] loop::Task<Result<std::optional<User>>> find(uid_t uid);

 private:
  struct Kept {
    std::optional<User> user;
    loop::TimePoint until;
  };
  using Answer = Result<std::optional<User>>;
  [[nodiscard]] loop::Task<Answer> find_kept(std::string key, std::function<Answer()> ask);
  loop::WorkerPool& pool_;
  std::unordered_map<std::string, Kept> kept_;
};

}  // namespace postern::local
