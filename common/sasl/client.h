// client.h - the client's side of the mechanisms that we log in with at other servers; pure.
//
//     PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/sasl/mechanism.h"

namespace postern::sasl {

struct Credentials {
  std::string username;
  std::string password;  // for XOAUTH2 and OAUTHBEARER the token
  bool is_token = false;
  bool sends_authzid = false;  // send_cyrus_sasl_authzid
  // OAUTHBEARER: who is logged in at.
  std::string host;
  std::uint16_t port = 0;
};

class ClientLogin {
 public:
  virtual ~ClientLogin() = default;
  [[nodiscard]] virtual std::string_view mechanism() const = 0;
  // What goes with the AUTH command; nothing where the server speaks first.
  [[nodiscard]] virtual std::optional<std::string> first() = 0;
  // An error: the challenge is none, or more than we would do.
  [[nodiscard]] virtual Result<std::string> answer(std::string_view challenge) = 0;
  // The answer takes long (PBKDF2): not on an event loop.
  [[nodiscard]] virtual bool is_slow() const { return false; }
  // The server says that we are in. An error: it has not shown that it is who it should be.
  [[nodiscard]] virtual Result<void> finish() const { return {}; }
};

// The best mechanism that the server offers, the options allow and the credentials are for; null
// where there is none. `nonce` is for SCRAM.
[[nodiscard]] std::unique_ptr<ClientLogin> choose_client_login(
    const std::vector<std::string>& offered, const SecurityOptions& options,
    Credentials credentials, std::string nonce);

}  // namespace postern::sasl
