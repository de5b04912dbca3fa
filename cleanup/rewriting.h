// rewriting.h - from the recipients as they were received to those that are delivered to.
//
// One question to `tables` for each recipient, all of them at once; most are answered from memory
// (common/ipc/tables_client.h).

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cleanup/header_pass.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/queuefile/envelope.h"

namespace postern::cleanup {

struct RewriteOptions {
  bool is_local_context = false;
  bool skip_aliases = false;  // receive_override_options = no_address_mappings
  bool is_for_probe = false;  // address verification has its own ways
  bool enable_original_recipient = true;
  std::string service;           // of master.cf: its -o values count in the tables service
  std::vector<std::string> bcc;  // always_bcc, sender_bcc_maps: more recipients
  bool skip_bcc = false;         // recipient_bcc_maps is not asked
  std::size_t duplicate_filter_limit = 0;  // recipients that are remembered; 0: all
};

// What became of the sender.
struct Sender {
  std::string address;
  std::vector<std::string> bcc;
};
// canonical_maps and kin, masquerading and sender_bcc_maps for the (completed) sender.
[[nodiscard]] loop::Task<Result<Sender>> map_sender(ipc::TablesClient& tables, std::string address,
                                                    std::string service);

// The same maps for what the header names.
[[nodiscard]] loop::Task<Result<AddressMap>> map_header(ipc::TablesClient& tables,
                                                        std::vector<HeaderAddress> addresses,
                                                        std::string service);

// Replaces envelope.recipients by the final ones, rewritten, expanded, resolved and without
// duplicates. `last` becomes the last of them before aliases. A temporary error when a table
// cannot be read, kConfig when aliases have no end, a permanent one when an address is refused.
[[nodiscard]] loop::Task<Result<void>> rewrite_recipients(ipc::TablesClient& tables,
                                                          queuefile::Envelope& envelope,
                                                          RewriteOptions options,
                                                          std::string* last = nullptr);

}  // namespace postern::cleanup
