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
#include "common/mail/rewrite.h"

namespace postern::cleanup {

struct HeaderRules {
  mail::RewriteRules rewrite;
  std::vector<std::string> message_drop_headers;  // lower case
  std::string undisclosed_recipients_header;
  std::string myhostname;
  std::size_t header_address_token_limit = 0;
  bool always_add_missing_headers = false;
  std::string header_from_format;  // standard, obsolete
};

struct HeaderContext {
  bool is_local = false;       // addresses are completed and missing fields added
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

// `block` is the header as it came, with or without its empty line.
[[nodiscard]] HeaderResult pass_header(const HeaderRules& rules, const HeaderContext& context,
                                       std::string_view block);

}  // namespace postern::cleanup
