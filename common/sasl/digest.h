// digest.h - what mechanisms need of cryptography: hashes, HMAC, PBKDF2, nonces, and a comparison
// that takes the same time whatever is compared.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace postern::sasl {

enum class Hash : unsigned char { kMd5, kSha1, kSha256 };

[[nodiscard]] std::size_t size_of(Hash hash);
[[nodiscard]] std::string digest(Hash hash, std::string_view bytes);
[[nodiscard]] std::string hmac(Hash hash, std::string_view key, std::string_view bytes);
// RFC 8018 5.2, as long as the hash.
[[nodiscard]] std::string pbkdf2(Hash hash, std::string_view password, std::string_view salt,
                                 unsigned iterations);

// From the system's generator. Ends the process when there is none.
[[nodiscard]] std::string random_bytes(std::size_t count);

// Takes the same time for all texts of one length.
[[nodiscard]] bool equal_secretly(std::string_view a, std::string_view b);

// Overwrites a text that nobody may find in memory later.
void wipe(std::string& text);

}  // namespace postern::sasl
