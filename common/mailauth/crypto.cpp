#include "common/mailauth/crypto.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <cassert>

namespace postern::mailauth {

namespace {

const unsigned char* bytes_of(std::string_view text) {
  return static_cast<const unsigned char*>(static_cast<const void*>(text.data()));
}
unsigned char* bytes_of(std::string& text) {
  return static_cast<unsigned char*>(static_cast<void*>(text.data()));
}

struct FreeContext {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};
template <typename T>
using Owned = std::unique_ptr<T, FreeContext>;

// Fetched once: the implicit fetch of each call costs more than hashing a short message.
const EVP_MD* sha256_method() {
  static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return method;
}

bool set_up_rsa(EVP_PKEY_CTX* context) {
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0 &&
         EVP_PKEY_CTX_set_signature_md(context, sha256_method()) > 0;
}

std::string from_bio(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }
void FreeKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  [[maybe_unused]] const int good = EVP_DigestInit_ex(context_.get(), sha256_method(), nullptr);
  assert(good == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::append(std::string_view bytes) {
  EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
}

std::string Sha256::finish() {
  constexpr std::size_t kSize = 32;
  std::string digest(kSize, '\0');
  EVP_DigestFinal_ex(context_.get(), bytes_of(digest), nullptr);
  return digest;
}

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.append(bytes);
  return hash.finish();
}

std::string hmac_sha1(std::string_view key, std::initializer_list<std::string_view> parts) {
  constexpr std::size_t kSize = 20;
  std::string out(kSize, '\0');
  const Owned<EVP_MAC> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  const Owned<EVP_MAC_CTX> context(EVP_MAC_CTX_new(mac.get()));
  std::array<char, 5> digest{"SHA1"};
  const std::array<OSSL_PARAM, 2> params = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  EVP_MAC_init(context.get(), bytes_of(key), key.size(), params.data());
  for (const std::string_view part : parts) {
    EVP_MAC_update(context.get(), bytes_of(part), part.size());
  }
  std::size_t size = 0;
  [[maybe_unused]] const int good = EVP_MAC_final(context.get(), bytes_of(out), &size, out.size());
  assert(good == 1 && size == kSize);
  return out;
}

bool equal_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view algorithm_name(SignAlgorithm algorithm) {
  return algorithm == SignAlgorithm::kRsaSha256 ? "rsa-sha256" : "ed25519-sha256";
}

constexpr unsigned kMostKeptBits = 4096;

KeyPtr PublicKey::parse_bytes(SignAlgorithm algorithm, std::string_view bytes) {
  if (algorithm == SignAlgorithm::kEd25519Sha256) {
    return KeyPtr(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(bytes), bytes.size()));
  }
  const unsigned char* in = bytes_of(bytes);
  KeyPtr key(d2i_PUBKEY(nullptr, &in, static_cast<long>(bytes.size())));
  if (key == nullptr) {
    in = bytes_of(bytes);
    key.reset(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &in, static_cast<long>(bytes.size())));
  }
  if (key != nullptr && EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) key.reset();
  return key;
}

std::optional<PublicKey> PublicKey::parse(SignAlgorithm algorithm, std::string_view bytes) {
  static thread_local std::unordered_map<std::string, PublicKey> kept;
  std::string name(bytes);
  name += algorithm == SignAlgorithm::kRsaSha256 ? 'r' : 'e';
  if (const auto known = kept.find(name); known != kept.end()) return known->second;
  KeyPtr key = parse_bytes(algorithm, bytes);
  ERR_clear_error();
  if (key == nullptr) return std::nullopt;
  PublicKey parsed(algorithm, std::move(key));
  if (parsed.bits() > kMostKeptBits) return parsed;
  if (kept.size() >= kKept) kept.clear();
  return kept.emplace(std::move(name), std::move(parsed)).first->second;
}

unsigned PublicKey::bits() const { return static_cast<unsigned>(EVP_PKEY_get_bits(key_.get())); }

bool PublicKey::verify(std::string_view digest, std::string_view signature) const {
  bool is_good = false;
  if (algorithm_ == SignAlgorithm::kEd25519Sha256) {
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    is_good = EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
              EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(),
                               bytes_of(digest), digest.size()) == 1;
  } else {
    const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(key_.get(), nullptr));
    is_good = context != nullptr && EVP_PKEY_verify_init(context.get()) == 1 &&
              set_up_rsa(context.get()) &&
              EVP_PKEY_verify(context.get(), bytes_of(signature), signature.size(),
                              bytes_of(digest), digest.size()) == 1;
  }
  ERR_clear_error();
  return is_good;
}

Result<PrivateKey> PrivateKey::parse_pem(std::string_view pem) {
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (key == nullptr) return fail(Error::Kind::kConfig, "no private key in PEM form");
  const int type = EVP_PKEY_get_base_id(key.get());
  if (type == EVP_PKEY_RSA) return PrivateKey(SignAlgorithm::kRsaSha256, std::move(key));
  if (type == EVP_PKEY_ED25519) return PrivateKey(SignAlgorithm::kEd25519Sha256, std::move(key));
  return fail(Error::Kind::kConfig, "neither an RSA nor an Ed25519 key");
}

Result<PrivateKey> PrivateKey::make(SignAlgorithm algorithm, unsigned bits) {
  KeyPtr key(algorithm == SignAlgorithm::kRsaSha256
                 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(bits))
                 : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  ERR_clear_error();
  if (key == nullptr) return fail_temporary("cannot make a key");
  return PrivateKey(algorithm, std::move(key));
}

unsigned PrivateKey::bits() const { return static_cast<unsigned>(EVP_PKEY_get_bits(key_.get())); }

std::string PrivateKey::to_pem() const {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return from_bio(bio.get());
}

std::string PrivateKey::public_bytes() const {
  if (algorithm_ == SignAlgorithm::kEd25519Sha256) {
    std::size_t size = 32;
    std::string out(size, '\0');
    EVP_PKEY_get_raw_public_key(key_.get(), bytes_of(out), &size);
    return out;
  }
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  i2d_PUBKEY_bio(bio.get(), key_.get());
  return from_bio(bio.get());
}

Result<std::string> PrivateKey::sign(std::string_view bytes) const {
  const std::string digest = sha256(bytes);
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(key_.get()));
  std::string out(size, '\0');
  bool is_good = false;
  if (algorithm_ == SignAlgorithm::kEd25519Sha256) {
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    is_good = EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
              EVP_DigestSign(context.get(), bytes_of(out), &size,
                             bytes_of(std::string_view(digest)), digest.size()) == 1;
  } else {
    const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(key_.get(), nullptr));
    is_good = context != nullptr && EVP_PKEY_sign_init(context.get()) == 1 &&
              set_up_rsa(context.get()) &&
              EVP_PKEY_sign(context.get(), bytes_of(out), &size, bytes_of(std::string_view(digest)),
                            digest.size()) == 1;
  }
  ERR_clear_error();
  if (!is_good) return fail_temporary("cannot sign");
  out.resize(size);
  return out;
}

}  // namespace postern::mailauth
