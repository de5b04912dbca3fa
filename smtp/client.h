// client.h - the delivery agent around the engine: takes deliveries from qmgr, asks the resolver.
//
// The same for SMTP and LMTP, which differ in their parameters and in one protocol switch.

#pragma once

#include <memory>

#include "common/agent/service.h"
#include "common/daemon/daemon.h"
#include "common/ipc/cleanup_client.h"
#include "common/ipc/client.h"
#include "common/ipc/tables_client.h"
#include "common/smtpclient/engine.h"
#include "common/tls/keyring_client.h"
#include "smtp/sender_rewriting.h"

namespace postern::smtp {

class Client {
 public:
  Client(daemon::Process& process, smtpclient::Protocol protocol);

 private:
  [[nodiscard]] smtpclient::SettingsPtr load() const;
  [[nodiscard]] smtpclient::TlsMaterials read_materials(config::Problems& problems) const;
  void configure_rewriting();
  void reload();
  loop::Task<void> deliver(std::shared_ptr<agent::Delivery> delivery);
  loop::Task<Result<ipc::resolver::Hosts>> find_hosts(ipc::resolver::FindHosts request);
  loop::Task<Result<ipc::resolver::Answer>> ask(ipc::resolver::Query question);
  loop::Task<Result<ipc::sts::Policy>> find_sts(ipc::sts::FindPolicy question);

  daemon::Process& process_;
  smtpclient::Protocol protocol_;
  std::shared_ptr<tls::Keyring> keyring_ = std::make_shared<tls::Keyring>();
  ipc::Client resolver_;
  ipc::TablesClient tables_;
  ipc::Client srs_{"private/keyring"};
  SenderRewriting rewriting_{srs_, tables_};
  ipc::Client sts_{"private/sts"};
  ipc::Client reports_{"private/reports"};
  ipc::Client auth_{"private/postern-auth"};
  ipc::CleanupClient cleanup_;  // of notices to the postmaster
  smtpclient::Engine engine_;
  agent::AgentService service_;
};

}  // namespace postern::smtp
