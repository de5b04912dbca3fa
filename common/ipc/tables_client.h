// tables_client.h - the tables service with the answers that still stand kept at hand.
//
// tables hands each peer a page with its generation number. An answer may be kept as long as the
// number stands: the question that most messages ask (where does this recipient go) then costs one
// look into memory instead of a wake-up of another process.

#pragma once

#include <atomic>
#include <list>
#include <string>
#include <variant>
#include <vector>

#include "common/base/keyed_hash.h"
#include "common/ipc/client.h"
#include "common/ipc/tables.h"
#include "common/ipc/tables_many.h"

namespace postern::ipc {

class TablesClient {
 public:
  explicit TablesClient(std::string path = "private/rewrite");
  ~TablesClient();
  TablesClient(const TablesClient&) = delete;
  TablesClient& operator=(const TablesClient&) = delete;

  [[nodiscard]] loop::Task<Result<tables::Resolved>> resolve(tables::Resolve question,
                                                             loop::Deadline deadline);
  [[nodiscard]] loop::Task<Result<tables::Expanded>> expand(tables::Expand question,
                                                            loop::Deadline deadline);
  // Only what was asked in the same words is found again.
  [[nodiscard]] loop::Task<Result<tables::Found>> lookup(tables::Lookup question,
                                                         loop::Deadline deadline);
  [[nodiscard]] loop::Task<Result<tables::FoundEach>> lookup_each(tables::LookupEach question,
                                                                  loop::Deadline deadline);
  // Answers to these are not kept: what a message holds is seldom asked twice.
  [[nodiscard]] loop::Task<Result<tables::Mapped>> map(tables::Map question,
                                                       loop::Deadline deadline);
  [[nodiscard]] loop::Task<Result<tables::Checked>> check(tables::Check question,
                                                          loop::Deadline deadline);
  // A kept answer, or nullptr.
  [[nodiscard]] const tables::Resolved* find_kept(const tables::Resolve& question);
  [[nodiscard]] const tables::Expanded* find_kept(const tables::Expand& question);

  [[nodiscard]] Client& client() { return client_; }

  // Changes when any table has changed, or another process answers: what was learnt before stands
  // as long as this does not. 0: nothing may be kept.
  [[nodiscard]] std::uint64_t standing();

 private:
  using Answer = std::variant<tables::Resolved, tables::Expanded, tables::Found, tables::FoundEach>;
  struct Kept {
    Answer answer;
    std::list<std::string>::iterator place;
  };
  void adopt_page(std::vector<sys::Fd> fds);
  [[nodiscard]] std::uint64_t generation() const;
  void keep(std::string key, Answer answer, std::uint64_t generation);
  template <typename T>
  [[nodiscard]] const T* find(const std::string& key);

  Client client_;
  const std::atomic<std::uint64_t>* page_ = nullptr;
  std::uint64_t kept_generation_ = 0;
  std::uint64_t connections_ = 0;
  StringMap<Kept> kept_;
  std::list<std::string> by_age_;  // oldest first
};

}  // namespace postern::ipc
