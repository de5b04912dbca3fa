// crypto.h - the digests and public keys of mail authentication. OpenSSL behind it.

#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"

struct evp_md_ctx_st;
struct evp_pkey_st;

namespace postern::mailauth {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void append(std::string_view bytes);
  // 32 bytes; nothing is appended afterwards.
  [[nodiscard]] std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};
[[nodiscard]] std::string sha256(std::string_view bytes);

// 20 bytes. The parts as one message.
[[nodiscard]] std::string hmac_sha1(std::string_view key,
                                    std::initializer_list<std::string_view> parts);

// Takes as long wherever the two differ.
[[nodiscard]] bool equal_secret(std::string_view a, std::string_view b);

enum class SignAlgorithm : unsigned char { kRsaSha256, kEd25519Sha256 };
[[nodiscard]] std::string_view algorithm_name(SignAlgorithm algorithm);  // "rsa-sha256"

struct FreeKey {
  void operator()(evp_pkey_st* key) const;
};
using KeyPtr = std::unique_ptr<evp_pkey_st, FreeKey>;

class PublicKey {
 public:
  // The bytes of p=: for RSA a SubjectPublicKeyInfo or an RSAPublicKey, for Ed25519 32 bytes
  // (RFC 8463 4.2). To take one apart costs more than to verify with it, so the keys that were
  // parsed last are kept, kKept at most a thread.
  [[nodiscard]] static std::optional<PublicKey> parse(SignAlgorithm algorithm,
                                                      std::string_view bytes);
  static constexpr std::size_t kKept = 500;

  [[nodiscard]] unsigned bits() const;
  // Whether `signature` is this key's over the SHA-256 digest.
  [[nodiscard]] bool verify(std::string_view digest, std::string_view signature) const;

 private:
  PublicKey(SignAlgorithm algorithm, KeyPtr key) : algorithm_(algorithm), key_(std::move(key)) {}
  [[nodiscard]] static KeyPtr parse_bytes(SignAlgorithm algorithm, std::string_view bytes);
  SignAlgorithm algorithm_;
  std::shared_ptr<evp_pkey_st> key_;
};

// A private key in this process: for the tools that make and test keys. Daemons leave keys to the
// keyring.
class PrivateKey {
 public:
  [[nodiscard]] static Result<PrivateKey> parse_pem(std::string_view pem);
  [[nodiscard]] static Result<PrivateKey> make(SignAlgorithm algorithm, unsigned bits = 2048);

  [[nodiscard]] SignAlgorithm algorithm() const { return algorithm_; }
  [[nodiscard]] unsigned bits() const;
  [[nodiscard]] std::string to_pem() const;        // PKCS #8
  [[nodiscard]] std::string public_bytes() const;  // as PublicKey::parse takes them
  // Signs the SHA-256 digest of `bytes`.
  [[nodiscard]] Result<std::string> sign(std::string_view bytes) const;

 private:
  PrivateKey(SignAlgorithm algorithm, KeyPtr key) : algorithm_(algorithm), key_(std::move(key)) {}
  SignAlgorithm algorithm_;
  KeyPtr key_;
};

}  // namespace postern::mailauth
