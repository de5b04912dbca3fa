// service.h - private/keyring: who asks for what.
//
// Signing takes up to a millisecond and holds up everybody, so that each connection has its turn:
// one signature each, then the next one's. Somebody who asks for thousands delays himself.

#pragma once

#include "common/daemon/daemon.h"
#include "common/ipc/keyring.h"
#include "common/ipc/server.h"
#include "common/ipc/tables_client.h"
#include "keyring/expiry.h"
#include "keyring/srs_secrets.h"
#include "keyring/store.h"

namespace postern::keyring {

class Service {
 public:
  explicit Service(daemon::Process& process);
  void start();

 private:
  [[nodiscard]] loop::Task<Result<ipc::keyring::Signed>> sign(ipc::keyring::Sign request,
                                                              ipc::ChannelPtr channel);
  [[nodiscard]] Result<ipc::keyring::Present> find(const ipc::keyring::Find& question) const;
  [[nodiscard]] loop::Task<Result<ipc::keyring::Chain>> find_named(
      ipc::keyring::FindNamed question);

  daemon::Process& process_;
  ipc::Server server_;
  bool has_keys_ = false;
  bool is_started_ = false;
  ipc::TablesClient tables_;
  Store store_;
  SrsSecrets srs_;
  TicketStore tickets_;
  ExpiryWatch expiry_;
};

}  // namespace postern::keyring
