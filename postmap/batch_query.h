// batch_query.h - many keys from standard input, asked together: look-ups in large files wait for
// memory most of the time, and those of many keys can do so side by side.

#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/table/table.h"

namespace postern::postmap {

using Tables = std::vector<std::unique_ptr<table::Table>>;

// Whether all of them answer faster so.
[[nodiscard]] bool can_ask_in_batches(const Tables& tables);

struct BatchCalls {
  // The answer to a key: that of the first table that has one. In the order of the keys.
  std::function<void(const table::Table& table, std::string_view key, std::string_view value)>
      answer;
  // The same for one key alone, with what it has to complain about.
  std::function<Result<void>(std::string_view key)> ask_alone;
  // Before more is read, which may take a while.
  std::function<void()> before_read;
};
// Asks for each line of standard input. A batch that fails is asked again key by key, so that all
// answers before the failure are given.
[[nodiscard]] Result<void> ask_in_batches(const Tables& tables, const BatchCalls& calls);

}  // namespace postern::postmap
