// header_pass.h - the header of one message, repaired: pure, from what came to what is kept.
//
// Received: goes in front. Fields that a message must not bring along are dropped
// (message_drop_headers). For mail of local clients addresses are completed, and what RFC 5322
// demands and a client left out is added: Message-Id, Date, From.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/keyed_hash.h"
#include "common/ipc/tables.h"
#include "common/mail/rewrite.h"

namespace postern::cleanup {

struct HeaderRules {
  mail::RewriteRules rewrite;
  std::vector<std::string> message_drop_headers;  // lower case
  std::string undisclosed_recipients_header;
  std::string myhostname;
  std::size_t header_address_token_limit = 0;
  bool always_add_missing_headers = false;
  std::string header_from_format;          // standard, obsolete
  std::string full_name_encoding_charset;  // empty: names beyond ASCII stay as they are
};

// What the tables make of an address in a header; keys are a role and the address in external form
// as header_addresses() gives them, values external.
using AddressMap = StringMap<std::string>;

struct HeaderContext {
  bool is_local = false;  // addresses are completed and missing fields added
  // remote_header_rewrite_domain: addresses of strangers are completed, too.
  bool is_rewritten = false;
  const AddressMap* map = nullptr;
  std::string_view sender;     // rewritten, internal
  std::string_view full_name;  // of the submitting user, for a From: that is missing
  std::string_view queue_id;
  WallTime arrival;
  std::string received;  // the trace field of this hop, without LF
};

struct HeaderResult {
  std::string header;      // each line with LF
  std::string message_id;  // "<...>" as in the log; empty when there is none
  bool is_resent_id = false;
  unsigned hops = 0;  // Received: fields, ours included
};

struct HeaderAddress {
  ipc::tables::AddressRole role;
  std::string address;  // external, completed
};
[[nodiscard]] std::string map_key(ipc::tables::AddressRole role, std::string_view address);
// The addresses of the header that are to be mapped, each once.
[[nodiscard]] std::vector<HeaderAddress> header_addresses(const HeaderRules& rules,
                                                          const HeaderContext& context,
                                                          std::string_view block);

// `block` is the header as it came, with or without its empty line.
[[nodiscard]] HeaderResult pass_header(const HeaderRules& rules, const HeaderContext& context,
                                       std::string_view block);

}  // namespace postern::cleanup
