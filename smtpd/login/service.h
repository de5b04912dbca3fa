// service.h - who judges logins (smtpd_sasl_type): Dovecot over its own protocol, or our auth
// daemon.
//
// A login is an exchange: start() and then next() for each answer of the client, until a step is
// no challenge. Whatever keeps a partner from answering is a temporary failure, never a refusal.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config/networks.h"
#include "common/config/site_list.h"
#include "common/config/values.h"
#include "common/ipc/client.h"
#include "common/loop/task.h"
#include "common/sasl/mechanism.h"

namespace postern::smtpd {

// What smtpd_sasl_* say for the sessions of one service.
struct LoginSettings {
  enum class Type : unsigned char { kDovecot, kAuthDaemon };
  bool is_enabled = false;
  bool is_tls_only = false;
  bool offers_broken_form = false;  // broken_sasl_auth_clients
  bool has_trace = false;           // smtpd_sasl_authenticated_header
  Type type = Type::kAuthDaemon;
  std::uint64_t partner = 0;  // Dovecot: the endpoint's number; auth daemon: the profile's
  std::string partner_name;   // for log lines
  std::string service;        // smtpd_sasl_service
  sasl::SecurityOptions options;
  sasl::SecurityOptions tls_options;
  bool has_filter = false;
  config::SiteList filter;  // smtpd_sasl_mechanism_filter
  config::Networks exceptions;
  std::size_t response_limit = 12288;
};
[[nodiscard]] LoginSettings read_login_settings(const config::Values& values,
                                                config::Problems& problems);

// What is known of a client that wants to log in.
struct LoginRequest {
  std::string mechanism;
  std::optional<std::string> initial_response;
  std::string client_address;  // empty where there is none
  std::string server_address;
  bool is_encrypted = false;
  std::string channel_binding_type;  // "tls-exporter", ...; empty: none
  std::string channel_binding;
  std::string certificate_name;  // of a client certificate that was verified, for EXTERNAL
};

struct LoginStep {
  enum class Kind : unsigned char { kChallenge, kDone, kFailed, kTemporary };
  Kind kind = Kind::kTemporary;
  std::string text;                     // the challenge, or why it failed
  std::optional<std::string> username;  // kDone; kFailed where it is known
  bool is_judged = true;                // false: what came was no try at a password
};

class LoginExchange {
 public:
  LoginExchange() = default;
  LoginExchange(const LoginExchange&) = delete;
  LoginExchange& operator=(const LoginExchange&) = delete;
  // An exchange that is not at its end is called off.
  virtual ~LoginExchange() = default;

  [[nodiscard]] virtual loop::Task<LoginStep> start(LoginRequest request) = 0;
  [[nodiscard]] virtual loop::Task<LoginStep> next(std::string response) = 0;
};

class DovecotClient;
class AuthDaemonClient;

// The partners of all sessions of this process.
class LoginServices {
 public:
  LoginServices();
  ~LoginServices();

  // Those that the partner has for us now.
  [[nodiscard]] loop::Task<Result<std::vector<sasl::Mechanism>>> mechanisms(
      const LoginSettings& settings);
  [[nodiscard]] std::unique_ptr<LoginExchange> exchange(const LoginSettings& settings);
  // AUTH is not offered: said once in a while, not to each client.
  void complain(std::string_view why);

 private:
  [[nodiscard]] DovecotClient& dovecot(const LoginSettings& settings);

  ipc::Client broker_{"private/broker"};
  ipc::Client auth_{"private/postern-auth"};
  std::map<std::uint64_t, std::unique_ptr<DovecotClient>> dovecot_;
  loop::TimePoint complained_{};
};

}  // namespace postern::smtpd
