// password.h - the entries of a table of passwords: what they look like, how they are made and
// compared with a password.
//
//     {SCRAM-SHA-256}4096,SALT,STORED,SERVER   also SCRAM-SHA-256$4096:SALT$STORED:SERVER
//     {ARGON2ID}$argon2id$v=19$...             also without the scheme
//     {CRYPT}$y$j9T$...                        all that crypt(5) knows, also without the scheme
//     {PLAIN}secret
//
// Dovecot's names of the same things ({SHA512-CRYPT}, {BLF-CRYPT}, ...) are taken, so that one
// table can serve both. Comparing takes long by intention: never on an event loop.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/sasl/scram.h"

namespace postern::sasl {

// Whether the password is the one of the entry. kConfig for an entry that nobody understands.
[[nodiscard]] Result<bool> check_password(std::string_view entry, std::string_view password);

// The entry as SCRAM needs it; nothing for one of another kind.
[[nodiscard]] std::optional<ScramEntry> scram_entry_of(std::string_view entry);

// The password of a {PLAIN} entry.
[[nodiscard]] std::optional<std::string_view> plain_password_of(std::string_view entry);

// "scram-sha-256", "argon2id", "yescrypt", "sha512-crypt", "bcrypt".
[[nodiscard]] Result<std::string> make_password(std::string_view scheme, std::string_view password);
inline constexpr std::string_view kPasswordSchemes =
    "scram-sha-256, argon2id, yescrypt, sha512-crypt, bcrypt";
inline constexpr std::string_view kDefaultPasswordScheme = "scram-sha-256";

// Longer passwords are refused everywhere.
inline constexpr std::size_t kMaxPassword = 1024;

}  // namespace postern::sasl
