// certificate.h - what a certificate says, and certificates with the means to sign for them.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/dns/wire.h"
#include "common/tls/openssl.h"

namespace postern::tls {

// ---- reading one certificate. Texts come from outside: they pass log::clean() before they are
// logged, and are empty where the certificate has none or one with a NUL in it.
[[nodiscard]] std::string subject_cn(X509& certificate);
// The issuer's CN, else its O.
[[nodiscard]] std::string issuer_name(X509& certificate);
// The dNSNames; where there is none, the subject's CN (RFC 6125 6.4.4).
[[nodiscard]] std::vector<std::string> host_names(X509& certificate);
// "AB:CD:…" of the certificate or of its public key. The legacy form of the latter
// (tls_legacy_public_key_fingerprints) hashes the bare key without its algorithm. Precondition: a
// known digest.
[[nodiscard]] std::string fingerprint(X509& certificate, std::string_view digest);
[[nodiscard]] std::string key_fingerprint(X509& certificate, std::string_view digest,
                                          bool is_legacy = false);
[[nodiscard]] std::chrono::system_clock::time_point expiry(X509& certificate);

// ---- TLSA
// Whether SMTP clients may use the record (RFC 7672 3.1.3): usage 2 or 3, known selector and
// matching type, data of the digest's length.
[[nodiscard]] bool is_usable(const dns::Tlsa& record);
// The record that a certificate would be published under.
[[nodiscard]] Result<dns::Tlsa> make_tlsa(X509& certificate, std::uint8_t usage,
                                          std::uint8_t selector, std::uint8_t matching_type);
// Trust anchors as records that only SSL_dane_* sees: the certificates (2 0 0) and public keys
// (2 1 0) of a PEM text (smtp_tls_trust_anchor_file, tafile=). Error: none in it.
[[nodiscard]] Result<std::vector<dns::Tlsa>> anchors_of(std::string_view pem);

// ---- PEM
// All certificates of the text, in its order. Error: one that is broken; none is no error.
[[nodiscard]] Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem);
// The first private key. Error: none, a broken one, or one under a passphrase, which nobody is
// there to type.
[[nodiscard]] Result<KeyPtr> parse_private_key(std::string_view pem);

// One's own certificate: what is shown to the peer, and the key that proves it. Shared by contexts
// and sessions, never changed.
struct Identity {
  X509Ptr certificate;
  std::vector<X509Ptr> issuers;  // sent along, next issuer first
  KeyPtr key;

  [[nodiscard]] std::string describe() const;  // subject and expiry, for the log
};
using IdentityPtr = std::shared_ptr<const Identity>;

// As smtpd_tls_cert_file and smtpd_tls_key_file have it: certificates, own first, and a key, which
// may be the same text. Error: what is missing, broken, or a key that is not the certificate's.
[[nodiscard]] Result<IdentityPtr> parse_identity(std::string_view certificates,
                                                 std::string_view key);
// As smtpd_tls_chain_files has it: key, certificate, issuers, then perhaps another key and so on;
// a key may also stand behind its certificates where there is only one.
[[nodiscard]] Result<std::vector<IdentityPtr>> parse_identities(std::string_view pem);
// The same without the keys, which are elsewhere (signer.h). In chain files a kKeyMark stands for
// each; other files hold one chain.
[[nodiscard]] Result<std::vector<IdentityPtr>> parse_public_identities(std::string_view pem,
                                                                       bool is_chain_file);

}  // namespace postern::tls
