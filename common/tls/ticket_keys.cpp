#include "common/tls/ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

namespace postern::tls {

namespace {

int keys_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

bool set_mac_key(EVP_MAC_CTX* mac, TicketKey& key) {
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac.data(), key.mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, params) == 1;
}

}  // namespace

TicketKey::~TicketKey() {
  OPENSSL_cleanse(cipher.data(), cipher.size());
  OPENSSL_cleanse(mac.data(), mac.size());
}

Result<TicketKey> TicketKey::parse(std::string_view bytes) {
  if (bytes.size() != kSize) return fail(Error::Kind::kDamaged, "ticket key of a wrong size");
  TicketKey key;
  std::memcpy(key.name.data(), bytes.data(), kNameSize);
  std::memcpy(key.cipher.data(), bytes.data() + kNameSize, kSecretSize);
  std::memcpy(key.mac.data(), bytes.data() + kNameSize + kSecretSize, kSecretSize);
  return key;
}

std::string TicketKey::print() const {
  std::string bytes(name.begin(), name.end());
  bytes.append(cipher.begin(), cipher.end());
  bytes.append(mac.begin(), mac.end());
  return bytes;
}

Result<TicketKey> TicketKey::random() {
  TicketKey key;
  if (RAND_bytes(key.name.data(), static_cast<int>(kNameSize)) != 1 ||
      RAND_priv_bytes(key.cipher.data(), static_cast<int>(kSecretSize)) != 1 ||
      RAND_priv_bytes(key.mac.data(), static_cast<int>(kSecretSize)) != 1) {
    return fail_temporary("no random bytes: " + take_library_reason());
  }
  return key;
}

Result<std::shared_ptr<TicketKeys>> TicketKeys::make(std::string_view cipher) {
  const EVP_CIPHER* const found = EVP_get_cipherbyname(std::string(cipher).c_str());
  if (found == nullptr || EVP_CIPHER_get_mode(found) != EVP_CIPH_CBC_MODE ||
      EVP_CIPHER_get_key_length(found) > static_cast<int>(TicketKey::kSecretSize)) {
    ERR_clear_error();
    return fail(Error::Kind::kConfig, "no cipher for session tickets: " + std::string(cipher));
  }
  return std::shared_ptr<TicketKeys>(new TicketKeys(found));
}

void TicketKeys::use_for(SSL_CTX& context) {
  SSL_CTX_set_ex_data(&context, keys_index(), this);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(&context, on_ticket);
}

// Returns as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) says: 0 no ticket, 1 done, 2 opened and to be
// renewed, -1 trouble.
int TicketKeys::on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                          EVP_MAC_CTX* mac, int is_sealing) {
  auto* const self =
      static_cast<TicketKeys*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keys_index()));
  if (self == nullptr || self->keys_.empty()) return 0;
  TicketKey* key = &self->keys_.front();
  if (is_sealing != 0) {
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(self->cipher_)) != 1) return -1;
    std::ranges::copy(key->name, name);
  } else {
    const auto found = std::ranges::find_if(self->keys_, [&](const TicketKey& k) {
      return std::equal(k.name.begin(), k.name.end(), name);
    });
    if (found == self->keys_.end()) return 0;
    key = &*found;
  }
  if (!set_mac_key(mac, *key)) return -1;
  if (EVP_CipherInit_ex(cipher, self->cipher_, nullptr, key->cipher.data(), iv, is_sealing) != 1) {
    return -1;
  }
  return is_sealing != 0 || key == &self->keys_.front() ? 1 : 2;
}

}  // namespace postern::tls
