// context.h - what all TLS sessions of one service have in common, made once from the configuration
// and shared by whoever began with it. A reload makes a new one for those that come after.
//
// Nothing here opens a file: certificates, keys and trust come as PEM texts.

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/tls/certificate.h"
#include "common/tls/openssl.h"
#include "common/tls/policy.h"
#include "common/tls/signer.h"
#include "common/tls/ticket_keys.h"

namespace postern::tls {

// What both roles agree on with a peer.
struct Algorithms {
  Protocols protocols{};
  std::string ciphers{};      // OpenSSL's cipher string (cipher_string()), TLS 1.2 and older
  std::string groups{};       // usable_groups(); empty: the library's own choice
  std::uint64_t options = 0;  // tls_ssl_options
  std::uint64_t workarounds_off = 0;  // tls_disable_workarounds
};

// Who may vouch for a peer's certificate.
struct Trust {
  std::string authorities{};  // PEM, any number of certificates
  std::string announced{};    // PEM: those that a server names to its clients
  unsigned depth = 9;         // of the chain: smtpd_tls_ccert_verifydepth
  bool any_purpose = false;   // tls_trust_server_ccerts: a server's certificate of a client
};

// What is told to a client that offers names of application protocols (ALPN). One that means only
// others, a browser led here by a trick (ALPACA), is refused; offering none is fine.
inline constexpr std::string_view kSmtpProtocol = "smtp";

struct ServerConfig {
  Algorithms algorithms{};
  bool prefer_own_ciphers = false;        // tls_preempt_cipherlist
  std::vector<IdentityPtr> identities{};  // at most one of each type of key is used, the last
  bool ask_certificate = false;           // the session goes on without one: see Session::worth
  Trust trust{};
  std::shared_ptr<Signer> signer{};  // for identities whose keys are elsewhere
  std::string dh_parameters{};       // PEM; empty: groups of the library's choice
  // Null: no tickets, and no session is resumed.
  std::shared_ptr<TicketKeys> ticket_keys{};
  std::chrono::seconds session_lifetime{3600};
  bool issue_session_ids = true;  // smtpd_tls_always_issue_session_ids
};

struct ClientConfig {
  Algorithms algorithms{};
  std::vector<IdentityPtr> identities{};
  Trust trust{};
  std::shared_ptr<Signer> signer{};
  // tls_dane_digests; false leaves SHA-256 alone.
  bool use_sha512_tlsa = true;
};

class Context {
 public:
  // Errors are kConfig: a broken certificate, no usable cipher, bad DH parameters.
  [[nodiscard]] static Result<std::shared_ptr<const Context>> server(ServerConfig config);
  [[nodiscard]] static Result<std::shared_ptr<const Context>> client(ClientConfig config);

  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }
  [[nodiscard]] bool is_server() const { return is_server_; }
  // Null: all keys are in this process.
  [[nodiscard]] Signer* signer() const { return signer_.get(); }
  // A client's certificate is asked for, or a server's is looked at: always for a client.
  [[nodiscard]] bool asks_certificate() const { return asks_certificate_; }

 private:
  Context() = default;
  [[nodiscard]] Result<void> set_common(const Algorithms& algorithms, const Trust& trust,
                                        const std::vector<IdentityPtr>& identities);
  SslCtxPtr context_;
  std::shared_ptr<TicketKeys> ticket_keys_;
  std::shared_ptr<Signer> signer_;
  bool is_server_ = false;
  bool asks_certificate_ = false;
};
using ContextPtr = std::shared_ptr<const Context>;

// Makes the certificate and key those of one session or context.
[[nodiscard]] Result<void> use_identity(SSL& ssl, const Identity& identity);

}  // namespace postern::tls
