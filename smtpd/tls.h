// tls.h - TLS for the sessions of one service: when it is offered, and with which certificates.
//
// The certificates come with the configuration, their keys stay with keyring. A new configuration
// or a renewed certificate is taken when keyring has the keys for it; until then, and where it
// never has, the one before is used. What cannot be used is said once, and mail goes on in the
// clear unless smtpd_tls_security_level = encrypt.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/config/values.h"
#include "common/loop/loop.h"
#include "common/tls/tls.h"

namespace postern::smtpd {

// What smtpd_tls_* say for the sessions of one service; part of their Settings.
struct TlsSettings {
  bool is_offered = false;   // STARTTLS, security level may or encrypt
  bool is_demanded = false;  // security level encrypt: no mail without
  bool is_wrapped = false;   // smtpd_tls_wrappermode: TLS comes before the greeting
  bool asks_certificate = false;
  bool demands_certificate = false;  // smtpd_tls_req_ccert, where TLS itself is demanded
  bool has_trace = false;            // smtpd_tls_received_header
  bool has_require_tls = false;      // requiretls_enable
  bool redacts_notices = true;       // requiretls_redact_dsn
  std::int64_t loglevel = 0;
  std::chrono::seconds timeout{300};  // smtpd_starttls_timeout
  std::string fingerprint_digest = "sha256";
  bool legacy_key_fingerprint = false;
  std::vector<std::string> names;  // tls_server_sni_maps
  std::vector<std::string> relay_clientcerts;
};
[[nodiscard]] TlsSettings read_tls_settings(const config::Values& values,
                                            config::Problems& problems);

class TlsService {
 public:
  TlsService();
  ~TlsService();
  TlsService(const TlsService&) = delete;
  TlsService& operator=(const TlsService&) = delete;

  // Takes the certificates of the configuration: at once where TLS was asked for before, else with
  // the first client that asks.
  void configure(const config::Values& values, const TlsSettings& settings);
  // To be awaited before TLS is offered or begun. Waits, a few seconds at most, while it is not
  // known yet whether there are keys for the first certificates: nobody is offered what cannot be
  // had.
  [[nodiscard]] loop::Task<void> settle();
  // Null: TLS cannot be had; why has been logged.
  [[nodiscard]] const tls::ContextPtr& context() const;
  [[nodiscard]] tls::Keyring& keyring();
  // Keeps what a handshake found. Sessions without a certificate differ in their algorithms only:
  // thousands that wait share a few descriptions.
  [[nodiscard]] std::shared_ptr<const tls::Session> describe(tls::Session session);

 private:
  // Outlives the service while keyring is asked.
  struct State;
  static void prepare(const std::shared_ptr<State>& state);
  static loop::Task<void> confirm(std::shared_ptr<State> state, std::uint64_t generation);
  static loop::Task<void> keep_tickets(std::shared_ptr<State> state, std::uint64_t generation);
  std::shared_ptr<State> state_;
  std::map<std::string, std::shared_ptr<const tls::Session>> descriptions_;
};

}  // namespace postern::smtpd
