// service.h - the front of the auth daemon: takes questions of smtpd, keeps the logins under way,
// and has workers do what blocks.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "auth/native.h"
#include "auth/settings_files.h"
#include "auth/workers.h"
#include "common/config/sasl_profile.h"
#include "common/daemon/daemon.h"
#include "common/ipc/auth.h"
#include "common/ipc/server.h"
#include "common/ipc/tables_client.h"

namespace postern::auth {

class Service {
 public:
  Service(daemon::Process& process, sys::Fd maker, SettingsFiles files);
  void start();

 private:
  // One login between two steps, or in one.
  struct Login {
    std::uint64_t number = 0;
    std::uint64_t profile = 0;
    std::weak_ptr<ipc::Channel> channel;
    loop::TimePoint began = loop::Clock::now();
    bool is_busy = false;
    std::string client_address;
    Workers::WorkerPtr worker;            // cyrus
    std::unique_ptr<NativeLogin> native;  // postern
  };
  using LoginPtr = std::shared_ptr<Login>;
  using Profile = config::SaslProfile;

  void configure();
  [[nodiscard]] loop::Task<Result<ipc::auth::Mechanisms>> list(ipc::auth::ListMechanisms question);
  [[nodiscard]] loop::Task<Result<ipc::auth::Step>> begin(ipc::auth::Begin question,
                                                          ipc::ChannelPtr channel);
  [[nodiscard]] loop::Task<Result<ipc::auth::Step>> go_on(ipc::auth::Continue question,
                                                          ipc::ChannelPtr channel);
  [[nodiscard]] loop::Task<Result<ipc::auth::Token>> find_token(ipc::auth::FindToken question);
  void cancel(std::uint64_t number, const ipc::ChannelPtr& channel);
  void forget(const LoginPtr& login);
  void end_old();
  // Keeps the login where the step is a challenge.
  [[nodiscard]] ipc::auth::Step conclude(const LoginPtr& login, ipc::auth::Step step);

  [[nodiscard]] const Profile* find_profile(std::uint64_t number) const;
  [[nodiscard]] Job job_of(const Profile& profile) const;
  [[nodiscard]] static std::string set_up_of(const Profile& profile);

  [[nodiscard]] loop::Task<ipc::auth::Step> cyrus_step(LoginPtr login, Job job);
  [[nodiscard]] loop::Task<ipc::auth::Step> native_step(LoginPtr login, NativeStep step);
  // The entry of a user in the profile's tables.
  [[nodiscard]] loop::Task<Result<std::optional<std::string>>> find_entry(
      std::vector<std::string> tables, std::string local_domain, std::string username);
  [[nodiscard]] loop::Task<ipc::auth::Step> judge(LoginPtr login, JudgePassword question);
  [[nodiscard]] loop::Task<Result<sasl::ScramEntry>> scram_entry(LoginPtr login,
                                                                 std::string username);

  daemon::Process& process_;
  SettingsFiles files_;
  ipc::Server server_;
  ipc::TablesClient tables_;
  Workers workers_;
  std::map<std::uint64_t, Profile> profiles_;
  std::map<std::uint64_t, ipc::auth::Mechanisms> mechanisms_;  // cyrus: since the last reload
  std::unordered_map<std::uint64_t, LoginPtr> logins_;
  std::uint64_t last_login_ = 0;
  std::string secret_;  // for users that there are not
  loop::CallbackTimer sweep_;
};

}  // namespace postern::auth
