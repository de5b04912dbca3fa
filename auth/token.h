// token.h - tokens of XOAUTH2 and OAUTHBEARER: files that hold them, and the command that fetches
// new ones (smtp_sasl_token_command).
//
// A file holds the token alone, or a JSON object with "access_token" and, if its end is known,
// "expiry" (seconds since 1970), as other tools write it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "auth/jobs.h"

namespace postern::auth {

struct TokenFile {
  std::string token;
  std::int64_t expiry = 0;  // 0: not known
};
// Nothing where the text is neither; tokens are of RFC 6750's characters.
[[nodiscard]] std::optional<TokenFile> parse_token_file(std::string_view text);

// Whether it will do for a delivery that begins now.
[[nodiscard]] bool is_fresh(const TokenFile& file, std::int64_t now);

// Whether a path is one below the directory, without a way out of it.
[[nodiscard]] bool is_below(std::string_view path, std::string_view directory);

// In a worker. Reads job.path; where that has no fresh token, or is_refused says that nobody wants
// it, has job.entry, the command, run with the path as its only argument, and reads again.
[[nodiscard]] JobReply find_token(const Job& job);

}  // namespace postern::auth
