// srs.h - the Sender Rewriting Scheme: sender addresses of forwarded mail that pass SPF at the next
// host, and the way back for bounces. Pure.
//
//     SRS0=HHHH=TT=example.org=alice@srs.example.net      from alice@example.org
//     SRS1=HHHH=first.example==HHHH=TT=...@srs.example.net  from SRS0=...@first.example
//
// HHHH is the start of an HMAC-SHA1 in base64, TT the day in base32. This is the algorithm that
// libsrs2 and PostSRSd use, so that addresses made by them with one of the secrets are understood.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::mailauth {

struct SrsRules {
  std::string domain{};                // of the addresses that are made
  std::vector<std::string> secrets{};  // the first one signs, each of them verifies
  std::chrono::seconds max_age = std::chrono::hours(21 * 24);
  std::size_t hash_length = 4;  // what is written; at least as much must be there to be accepted
  char separator = '=';         // behind SRS0 and SRS1: one of = + -
};

// One secret a line; empty lines and lines that start with `#` are left out.
[[nodiscard]] std::vector<std::string> parse_srs_secrets(std::string_view text);

// Whether the local part is one of ours, whatever it is worth.
[[nodiscard]] bool is_srs_address(std::string_view address);

// The sender to be used when the mail goes on to another domain. Without a domain, or within
// `rules.domain`, it stays. `now` in seconds. kPermanent where it would become too long.
[[nodiscard]] Result<std::string> srs_forward(const SrsRules& rules, std::string_view sender,
                                              std::int64_t now);

// The address behind one that srs_forward() has made. kPermanent: forged, expired or damaged, and
// no mail is to be taken for it.
[[nodiscard]] Result<std::string> srs_reverse(const SrsRules& rules, std::string_view address,
                                              std::int64_t now);

}  // namespace postern::mailauth
