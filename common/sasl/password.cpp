#include "common/sasl/password.h"

#include <argon2.h>
#include <crypt.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "common/base/text.h"

namespace postern::sasl {

namespace {

constexpr std::size_t kSaltSize = 16;
// RFC 9106 4, second choice: 64 MiB, three passes.
constexpr unsigned kArgonPasses = 3;
constexpr unsigned kArgonMemory = 64U << 10U;
constexpr unsigned kArgonLanes = 4;
constexpr std::size_t kArgonSize = 32;
constexpr std::size_t kMaxEntry = 4096;

constexpr std::array<std::string_view, 6> kCryptSchemes = {
    "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "DES-CRYPT"};
constexpr std::array<std::string_view, 3> kArgonSchemes = {"ARGON2", "ARGON2ID", "ARGON2I"};
constexpr std::array<std::string_view, 3> kPlainSchemes = {"PLAIN", "CLEAR", "CLEARTEXT"};

template <typename Names>
bool is_among(const Names& names, std::string_view name) {
  return std::ranges::any_of(names, [&](std::string_view n) { return equal_nocase(n, name); });
}

// The scheme, which may be empty, and what it is of.
struct Entry {
  std::string_view scheme;
  std::string_view text;
};

Entry split_entry(std::string_view entry) {
  entry = trim(entry);
  if (entry.starts_with('{')) {
    const auto end = entry.find('}');
    if (end != std::string_view::npos) return {entry.substr(1, end - 1), entry.substr(end + 1)};
  }
  constexpr std::string_view kScram = "SCRAM-SHA-256$";
  if (entry.starts_with(kScram)) return {"SCRAM-SHA-256", entry.substr(kScram.size())};
  if (entry.starts_with("$argon2")) return {"ARGON2", entry};
  if (entry.starts_with('$')) return {"CRYPT", entry};
  return {"", entry};
}

std::unexpected<Error> unknown_entry() {
  return fail(Error::Kind::kConfig, "a password entry of a form that is not known");
}

Result<bool> check_crypt(std::string_view hash, std::string_view password) {
  const std::string setting(hash);
  std::string phrase(password);
  const auto data = std::make_unique<crypt_data>();
  const char* const made = ::crypt_r(phrase.c_str(), setting.c_str(), data.get());
  wipe(phrase);
  if (made == nullptr || made[0] == '*') return unknown_entry();
  return equal_secretly(made, setting);
}

Result<bool> check_argon2(std::string_view hash, std::string_view password) {
  const std::string encoded(hash);
  const bool is_id = encoded.starts_with("$argon2id$");
  if (!is_id && !encoded.starts_with("$argon2i$")) return unknown_entry();
  const int found = is_id ? argon2id_verify(encoded.c_str(), password.data(), password.size())
                          : argon2i_verify(encoded.c_str(), password.data(), password.size());
  if (found == ARGON2_OK) return true;
  if (found == ARGON2_VERIFY_MISMATCH) return false;
  if (found == ARGON2_MEMORY_ALLOCATION_ERROR) return fail_temporary("no memory for argon2");
  return unknown_entry();
}

Result<std::string> make_crypt(const char* prefix, unsigned long cost, std::string_view scheme,
                               std::string_view password) {
  std::string phrase(password);
  const auto data = std::make_unique<crypt_data>();
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting{};
  if (::crypt_gensalt_rn(prefix, cost, nullptr, 0, setting.data(), setting.size()) == nullptr) {
    return fail(Error::Kind::kConfig, fmt::format("crypt(3) does not know {}", scheme));
  }
  const char* const made = ::crypt_r(phrase.c_str(), setting.data(), data.get());
  wipe(phrase);
  if (made == nullptr || made[0] == '*') {
    return fail(Error::Kind::kConfig, fmt::format("crypt(3) does not know {}", scheme));
  }
  return fmt::format("{{CRYPT}}{}", made);
}

Result<std::string> make_argon2(std::string_view password) {
  const std::string salt = random_bytes(kSaltSize);
  std::array<char, 256> encoded{};
  const int done = argon2id_hash_encoded(kArgonPasses, kArgonMemory, kArgonLanes, password.data(),
                                         password.size(), salt.data(), salt.size(), kArgonSize,
                                         encoded.data(), encoded.size());
  if (done != ARGON2_OK) return fail_temporary(argon2_error_message(done));
  return fmt::format("{{ARGON2ID}}{}", encoded.data());
}

}  // namespace

Result<bool> check_password(std::string_view entry, std::string_view password) {
  if (entry.size() > kMaxEntry || password.size() > kMaxPassword) return false;
  // C libraries would end at a NUL.
  if (password.empty() || password.find('\0') != std::string_view::npos) return false;
  const auto [scheme, text] = split_entry(entry);
  if (is_among(kPlainSchemes, scheme)) {
    return equal_secretly(digest(Hash::kSha256, text), digest(Hash::kSha256, password));
  }
  if (equal_nocase(scheme, "SCRAM-SHA-256")) {
    const auto scram = parse_scram_entry(Hash::kSha256, text);
    if (!scram) return unknown_entry();
    return is_password_of(*scram, password);
  }
  if (is_among(kArgonSchemes, scheme)) return check_argon2(text, password);
  if (is_among(kCryptSchemes, scheme)) return check_crypt(text, password);
  return unknown_entry();
}

std::optional<ScramEntry> scram_entry_of(std::string_view entry) {
  const auto [scheme, text] = split_entry(entry);
  if (!equal_nocase(scheme, "SCRAM-SHA-256")) return std::nullopt;
  return parse_scram_entry(Hash::kSha256, text);
}

std::optional<std::string_view> plain_password_of(std::string_view entry) {
  const auto [scheme, text] = split_entry(entry);
  if (!is_among(kPlainSchemes, scheme)) return std::nullopt;
  return text;
}

Result<std::string> make_password(std::string_view scheme, std::string_view password) {
  const auto refuse = [](std::string_view why) {
    return fail(Error::Kind::kPermanent, std::string(why));
  };
  if (password.empty()) return refuse("the password is empty");
  if (password.size() > kMaxPassword) return refuse("the password is too long");
  if (password.find('\0') != std::string_view::npos) return refuse("the password holds a NUL");
  if (equal_nocase(scheme, "scram-sha-256")) {
    return "{SCRAM-SHA-256}" +
           print_scram_entry(make_scram_entry(Hash::kSha256, password, random_bytes(kSaltSize),
                                              kScramIterations));
  }
  if (equal_nocase(scheme, "argon2id")) return make_argon2(password);
  if (equal_nocase(scheme, "yescrypt")) return make_crypt("$y$", 0, scheme, password);
  if (equal_nocase(scheme, "sha512-crypt")) return make_crypt("$6$", 100'000, scheme, password);
  if (equal_nocase(scheme, "bcrypt")) return make_crypt("$2b$", 12, scheme, password);
  return refuse(fmt::format("unknown scheme \"{}\"; there are {}", scheme, kPasswordSchemes));
}

}  // namespace postern::sasl
