// signer.h - private keys that are elsewhere, as OpenSSL sees them.
//
// remote_key() makes an EVP_PKEY out of a public key; signing with it during a handshake asks the
// context's Signer and waits without holding anybody up. It does nothing else: no decryption (RSA
// key exchange), no signature outside of a handshake.
//
// How: a provider in a library context of its own, so that it is never taken for another's key. Its
// digest_sign runs in an ASYNC job of the handshake, leaves the request in the handshake under way,
// and pauses the job; session.cpp awaits the answer and goes on.

#pragma once

#include <string>

#include "common/base/result.h"
#include "common/ipc/keyring.h"
#include "common/loop/loop.h"
#include "common/loop/task.h"
#include "common/tls/openssl.h"

namespace postern::tls {

struct SignRequest {
  std::string key;  // key_id()
  std::int64_t scheme = 0;
  ipc::keyring::Purpose purpose = ipc::keyring::Purpose::kNone;
  std::string bytes;
};

class Signer {
 public:
  virtual ~Signer() = default;
  [[nodiscard]] virtual loop::Task<Result<std::string>> sign(SignRequest request,
                                                             loop::Deadline deadline) = 0;
};

// SHA-256 of the key's public half; of a certificate's key, not of what remote_key() made of it.
[[nodiscard]] std::string key_id(EVP_PKEY& key);
// RSA, elliptic curves, Ed25519 and Ed448. Error: another kind.
[[nodiscard]] Result<KeyPtr> remote_key(EVP_PKEY& public_key);
[[nodiscard]] bool is_remote(const EVP_PKEY& key);

// Where the provider meets the handshake that it signs for: set while SSL_do_handshake() runs.
struct Signing {
  enum class State : unsigned char { kIdle, kWanted, kAnswered };
  State state = State::kIdle;
  SignRequest request;
  Result<std::string> answer = std::string();
};
class SigningScope {
 public:
  explicit SigningScope(Signing& signing);
  ~SigningScope();
  SigningScope(const SigningScope&) = delete;
  SigningScope& operator=(const SigningScope&) = delete;
};

// Signs here and now with a key that is in this process; what keyring does, and tests.
[[nodiscard]] Result<std::string> sign(EVP_PKEY& key, std::int64_t scheme, std::string_view bytes);

}  // namespace postern::tls
