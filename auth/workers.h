// workers.h - the front's side of the workers: up to auth_workers for each set-up, made when
// needed, each with one job at a time.
//
// The Cyrus library is set up once in a process, so workers belong to a set-up (the files that it
// was set up from). A login stays with the worker that began it. A worker that is silent past
// kJobTime is given up.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "auth/jobs.h"
#include "common/loop/loop.h"
#include "common/loop/task.h"
#include "common/sys/fd.h"

namespace postern::auth {

// The set-up of those that fetch tokens: one at a time, so that nobody fetches what another one
// just has.
inline constexpr std::string_view kTokenSetUp = "token";

class Workers {
 public:
  struct Worker;
  using WorkerPtr = std::shared_ptr<Worker>;

  explicit Workers(sys::Fd maker);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void set_limit(std::size_t limit) { limit_ = limit; }
  // Those of now take no new logins: their files may have changed.
  void retire_all();

  // Has the job done by *worker, or by a free one of the set-up where that is null; *worker is the
  // one that did it. An error is temporary.
  [[nodiscard]] loop::Task<Result<JobReply>> run(Job job, std::string set_up, WorkerPtr* worker);
  // Sends a job whose answer nobody waits for.
  void tell(WorkerPtr worker, Job job);
  // A login has begun in the worker, or has ended there.
  void login_begins(const WorkerPtr& worker);
  void login_ends(const WorkerPtr& worker);

 private:
  [[nodiscard]] loop::Task<Result<WorkerPtr>> take(std::string set_up, loop::Deadline deadline);
  [[nodiscard]] WorkerPtr find_idle(const std::string& set_up) const;
  [[nodiscard]] std::size_t count(const std::string& set_up) const;
  [[nodiscard]] Result<WorkerPtr> make(std::string set_up);
  void drop(const WorkerPtr& worker);
  void release(const WorkerPtr& worker);
  void end_idle();

  sys::Fd maker_;
  std::size_t limit_ = 10;
  std::vector<WorkerPtr> workers_;
  loop::Condition room_;
  std::size_t waiting_ = 0;
  loop::CallbackTimer sweep_;
};

}  // namespace postern::auth
