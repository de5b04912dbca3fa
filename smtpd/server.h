// server.h - the listener of one smtpd line of master.cf, and all its sessions.

#pragma once

#include <memory>
#include <unordered_set>

#include "common/daemon/daemon.h"
#include "common/ipc/cleanup_client.h"
#include "common/ipc/client.h"
#include "common/ipc/tables_client.h"
#include "common/queuefile/queue_id.h"
#include "common/sys/socket.h"
#include "smtpd/client_limits.h"
#include "smtpd/first_contact.h"
#include "smtpd/login/service.h"
#include "smtpd/milter_places.h"
#include "smtpd/restrictions/policy_client.h"
#include "smtpd/settings.h"
#include "smtpd/tls.h"

namespace postern::smtpd {

class Session;

// The neighbours that all sessions share.
struct Neighbours {
  ipc::TablesClient tables;
  ipc::CleanupClient cleanup;
  ipc::Client resolver{"private/resolver"};
  ipc::Client flush{"public/flush"};
  ipc::Client broker{"private/broker"};
  PolicyClients policy{};
  LoginServices login{};
  ipc::Client verify{"private/verify"};
  MilterPlaces milter_places{};
  ipc::Client mailauth{"private/mailauth"};
  ipc::Client srs{"private/keyring"};
  queuefile::QueueIdSource ids;
};

class Server final : loop::Watched {
 public:
  explicit Server(daemon::Process& process);
  ~Server();
  void start();

  [[nodiscard]] Neighbours& neighbours() { return neighbours_; }
  [[nodiscard]] ClientLimits& limits() { return limits_; }
  [[nodiscard]] TlsService& tls() { return tls_; }
  [[nodiscard]] const TlsService& tls() const { return tls_; }
  [[nodiscard]] const config::Values& values() const { return process_.values(); }
  [[nodiscard]] bool is_draining() const { return process_.is_draining(); }
  // Started by `postern explain` for one session that sends nothing: each verdict is told.
  [[nodiscard]] bool is_explaining() const { return is_explaining_; }

 private:
  void on_events(std::uint32_t events) override;
  void watch();
  void unwatch();
  void reload();
  void drain();
  void say_farewell();
  void serve(sys::Accepted client);
  loop::Task<void> serve_tested(sys::Accepted client);
  loop::Task<void> serve_session(Admitted admitted);
  void session_ended();
  // All places are taken: the least useful strangers go. Looks again soon.
  void make_room();
  // What sessions have: of our own line, or of the `pass` line behind first contact.
  [[nodiscard]] config::Values session_values() const;
  [[nodiscard]] std::int64_t in_use() const;
  [[nodiscard]] const SettingsPtr& settings_now() const;

  daemon::Process& process_;
  std::vector<sys::Fd> listeners_;
  Neighbours neighbours_;
  ClientLimits limits_;
  TlsService tls_;
  std::unique_ptr<FirstContact> first_contact_;  // of a postscreen line
  SettingsPtr settings_;
  SettingsPtr stress_settings_;
  std::unordered_set<Session*> sessions_;
  std::int64_t limit_ = 0;  // 0: none but sessions_per_process
  std::int64_t sessions_per_process_ = 1000;
  bool is_stress_ = false;
  bool is_explaining_ = false;
  bool watching_ = false;
  std::int64_t last_session_ = 0;
  loop::CallbackTimer room_timer_{[this] { watch(); }};
  loop::CallbackTimer farewell_timer_{[this] { say_farewell(); }};
};

}  // namespace postern::smtpd
