// cyrus.h - logins by the Cyrus SASL library, in a worker: everything here may block.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "auth/jobs.h"

namespace postern::auth {

class Cyrus {
 public:
  Cyrus();
  ~Cyrus();
  Cyrus(const Cyrus&) = delete;
  Cyrus& operator=(const Cyrus&) = delete;

  // The library is set up once in the life of a process, by the first job.
  [[nodiscard]] JobReply run(const Job& job);

 private:
  struct Login;
  using LoginPtr = std::unique_ptr<Login>;

  [[nodiscard]] bool set_up(const Job& job, JobReply& reply);
  [[nodiscard]] static LoginPtr connect(const Job& job, JobReply& reply);
  static void list(const Job& job, JobReply& reply);
  void begin(const Job& job, JobReply& reply);
  void go_on(const Job& job, JobReply& reply);
  // What the library's answer means; keeps the login where a challenge is left.
  void conclude(int status, const char* output, unsigned size, std::uint64_t number, LoginPtr login,
                JobReply& reply);

  bool is_set_up_ = false;
  std::map<std::uint64_t, LoginPtr> logins_;
};

}  // namespace postern::auth
