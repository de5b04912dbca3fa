// auth.h - logging in at a server (smtp_sasl_*): whose password, which mechanism, and the dialogue.
//
// A server that offers AUTH and for which there is a password is logged in at before the first
// MAIL; one without a password is spoken to as by any stranger. A login that fails is a matter
// between administrators: the mail waits, unless smtp_sasl_auth_soft_bounce says otherwise.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/config/site_list.h"
#include "common/config/values.h"
#include "common/ipc/client.h"
#include "common/ipc/tables_client.h"
#include "common/loop/worker_pool.h"
#include "common/sasl/client.h"
#include "common/smtpclient/connection.h"
#include "common/smtpclient/plan.h"

namespace postern::smtpclient {

struct PasswordQuestion {
  Endpoint endpoint{};
  std::string nexthop{};
  std::string sender{};
};

// Keys of smtp_sasl_password_maps, in their order: the sender's where it counts, the server's name,
// the next hop as it is configured.
[[nodiscard]] std::vector<ipc::tables::Key> password_keys(const PasswordQuestion& question,
                                                          const LoginSettings& settings);

// "user:password". A password that is a path below the directory of tokens names the file of one.
[[nodiscard]] sasl::Credentials parse_credentials(std::string_view value,
                                                  const LoginSettings& settings);

class LoginClient {
 public:
  void use_tables(ipc::TablesClient* tables) { tables_ = tables; }
  // For the files of tokens; without it there are none.
  void use_auth(ipc::Client* daemon) { daemon_ = daemon; }

  // After hello(). An empty verdict: logged in, or nothing to log in with.
  [[nodiscard]] loop::Task<Verdict> log_in(SettingsPtr settings, Connection& connection,
                                           std::string nexthop, std::string sender);

 private:
  struct Refusal {
    std::string secret;  // a digest of the password
    Verdict verdict;
    loop::TimePoint until;
  };

  [[nodiscard]] loop::Task<std::vector<std::string>> usable_mechanisms(SettingsPtr settings,
                                                                       Connection& connection);
  [[nodiscard]] loop::Task<Result<std::optional<std::string>>> find_password(
      SettingsPtr settings, PasswordQuestion question);
  [[nodiscard]] loop::Task<Result<std::string>> find_token(std::string file, bool is_refused);
  [[nodiscard]] loop::Task<Verdict> converse(SettingsPtr settings, Connection& connection,
                                             sasl::ClientLogin& login);
  [[nodiscard]] loop::Task<Result<std::string>> answer(sasl::ClientLogin& login,
                                                       std::string challenge);
  [[nodiscard]] const Refusal* find_refusal(const std::string& key, const std::string& secret);
  void keep_refusal(const std::string& key, Refusal refusal);

  ipc::TablesClient* tables_ = nullptr;
  ipc::Client* daemon_ = nullptr;
  loop::WorkerPool pool_{1};  // for SCRAM
  std::unordered_map<std::string, Refusal> refusals_;
};

}  // namespace postern::smtpclient
