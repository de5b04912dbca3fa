// batv.h - Bounce Address Tag Validation, the prvs form: senders of our own that bounces can be
// told by. Pure.
//
//     prvs=KDDDSSSSSS=alice@example.org
//
// K is the number of the key, DDD the day (mod 1000) on which the address expires, SSSSSS the start
// of an HMAC-SHA1 in hexadecimal over KDDD and the plain address.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postern::mailauth {

struct BatvRules {
  std::string key{};
  unsigned key_number = 0;  // 0 to 9
  unsigned days = 7;
};

[[nodiscard]] bool is_batv_address(std::string_view address);
// The address behind the tag, whatever the tag is worth; nothing where there is no tag.
[[nodiscard]] std::optional<std::string> batv_plain(std::string_view address);

// A sender without a domain, and one that has a tag already, stays.
[[nodiscard]] std::string batv_sign(const BatvRules& rules, std::string_view sender,
                                    std::int64_t now);

// The plain address; nothing where the tag is forged or has expired.
[[nodiscard]] std::optional<std::string> batv_verify(const BatvRules& rules,
                                                     std::string_view address, std::int64_t now);

}  // namespace postern::mailauth
