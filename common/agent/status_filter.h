// status_filter.h - the administrator's last word on how a delivery ended
// (default_delivery_status_filter and its kin).

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/agent/verdict.h"
#include "common/config/values.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"

namespace postern::agent {

// "5.7.1 text" as a table gave it. An error says why it cannot stand for `status`: success stays
// success, failure stays failure.
[[nodiscard]] Result<std::pair<std::string, std::string>> parse_filtered_status(
    std::string_view result, std::string_view status);

class StatusFilter {
 public:
  // `program` has a parameter of its own, PROGRAM_delivery_status_filter, or takes the default.
  void configure(const config::Values& values, std::string_view program);
  void switch_off() { tables_.clear(); }
  [[nodiscard]] bool is_active() const { return !tables_.empty(); }

  // The verdict as the tables have it. Where they cannot be asked, or answer nonsense, it stands as
  // it is, with a warning.
  [[nodiscard]] loop::Task<Verdict> apply(Verdict verdict);

 private:
  std::vector<std::string> tables_;
  ipc::TablesClient client_;
};

}  // namespace postern::agent
