// rewriting.h - from the recipients as they were received to those that are delivered to.
//
// One question to `tables` for each recipient, all of them at once; most are answered from memory
// (common/ipc/tables_client.h).

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/queuefile/envelope.h"

namespace postern::cleanup {

struct RewriteOptions {
  bool is_local_context = false;
  bool skip_aliases = false;  // receive_override_options = no_address_mappings
  bool enable_original_recipient = true;
};

// Replaces envelope.recipients by the final ones, rewritten, expanded, resolved and without
// duplicates. A temporary error when a table cannot be read, a permanent one when the expansion is
// refused.
[[nodiscard]] loop::Task<Result<void>> rewrite_recipients(ipc::TablesClient& tables,
                                                          queuefile::Envelope& envelope,
                                                          RewriteOptions options);

}  // namespace postern::cleanup
