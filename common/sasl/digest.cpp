#include "common/sasl/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cassert>

namespace postern::sasl {

namespace {

const EVP_MD* method_of(Hash hash) {
  switch (hash) {
    case Hash::kMd5:
      return EVP_md5();
    case Hash::kSha1:
      return EVP_sha1();
    case Hash::kSha256:
      return EVP_sha256();
  }
  return EVP_sha256();
}

const unsigned char* bytes_of(std::string_view text) {
  return static_cast<const unsigned char*>(static_cast<const void*>(text.data()));
}

std::string text_of(const unsigned char* bytes, std::size_t size) {
  return {static_cast<const char*>(static_cast<const void*>(bytes)), size};
}

}  // namespace

std::size_t size_of(Hash hash) {
  return static_cast<std::size_t>(EVP_MD_get_size(method_of(hash)));
}

std::string digest(Hash hash, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), out.data(), &size, method_of(hash), nullptr);
  assert(done == 1);
  return text_of(out.data(), size);
}

std::string hmac(Hash hash, std::string_view key, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  // A null key would mean the one of the call before.
  const void* const start = key.empty() ? static_cast<const void*>("") : key.data();
  const auto* const done = HMAC(method_of(hash), start, static_cast<int>(key.size()),
                                bytes_of(bytes), bytes.size(), out.data(), &size);
  assert(done != nullptr);
  return text_of(out.data(), size);
}

std::string pbkdf2(Hash hash, std::string_view password, std::string_view salt,
                   unsigned iterations) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  const auto size = static_cast<int>(size_of(hash));
  const int done =
      PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), bytes_of(salt),
                        static_cast<int>(salt.size()), static_cast<int>(iterations),
                        method_of(hash), size, out.data());
  assert(done == 1);
  return text_of(out.data(), static_cast<std::size_t>(size));
}

std::string random_bytes(std::size_t count) {
  std::string out(count, '\0');
  const int done = RAND_bytes(static_cast<unsigned char*>(static_cast<void*>(out.data())),
                              static_cast<int>(count));
  assert(done == 1);
  return out;
}

bool equal_secretly(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void wipe(std::string& text) {
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace postern::sasl
