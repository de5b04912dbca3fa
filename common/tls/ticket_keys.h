// ticket_keys.h - what session tickets are sealed with (RFC 5077 4), shared by several processes.
//
// Whoever makes the keys hands the same ones to all processes that serve the same name, newest
// first, and makes a new one in time; a ticket of the one before is still taken, and renewed.

#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/tls/openssl.h"

namespace postern::tls {

struct TicketKey {
  static constexpr std::size_t kNameSize = 16;
  static constexpr std::size_t kSecretSize = 32;
  static constexpr std::size_t kSize = kNameSize + 2 * kSecretSize;
  std::array<unsigned char, kNameSize> name{};
  std::array<unsigned char, kSecretSize> cipher{};
  std::array<unsigned char, kSecretSize> mac{};

  // As kSize bytes, between processes.
  [[nodiscard]] static Result<TicketKey> parse(std::string_view bytes);
  [[nodiscard]] std::string print() const;
  [[nodiscard]] static Result<TicketKey> random();
  ~TicketKey();
};

class TicketKeys {
 public:
  // tls_session_ticket_cipher: a CBC cipher with a key of at most 32 bytes.
  [[nodiscard]] static Result<std::shared_ptr<TicketKeys>> make(std::string_view cipher);

  // Newest first; those left out are forgotten, and their tickets no longer taken.
  void set(std::vector<TicketKey> keys) { keys_ = std::move(keys); }
  [[nodiscard]] bool is_empty() const { return keys_.empty(); }

  // Tickets of the context are sealed and opened with the keys; while there are none, no ticket is
  // given. Precondition: the keys outlive the context.
  void use_for(SSL_CTX& context);

 private:
  explicit TicketKeys(const EVP_CIPHER* cipher) : cipher_(cipher) {}
  static int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                       EVP_MAC_CTX* mac, int is_sealing);
  const EVP_CIPHER* cipher_;
  std::vector<TicketKey> keys_;
};

}  // namespace postern::tls
