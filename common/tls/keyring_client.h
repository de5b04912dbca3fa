// keyring_client.h - keyring as those who speak TLS use it.

#pragma once

#include <memory>

#include "common/ipc/client.h"
#include "common/tls/context.h"
#include "common/tls/session.h"
#include "common/tls/signer.h"

namespace postern::tls {

class Keyring final : public Signer {
 public:
  [[nodiscard]] loop::Task<Result<std::string>> sign(SignRequest request,
                                                     loop::Deadline deadline) override;

  // Those of the identities whose keys are there for the purpose. Error: keyring does not answer.
  [[nodiscard]] loop::Task<Result<std::vector<IdentityPtr>>> find(
      std::vector<IdentityPtr> identities, ipc::keyring::Purpose purpose, loop::Deadline deadline);
  // Puts the current ticket keys in; gives the time after which to do so again.
  [[nodiscard]] loop::Task<Result<std::chrono::seconds>> renew_tickets(
      std::shared_ptr<TicketKeys> keys, std::chrono::seconds lifetime, loop::Deadline deadline);
  // The certificate for a host name out of tls_server_sni_maps; null: none is there.
  [[nodiscard]] loop::Task<Result<IdentityPtr>> find_named(std::string name,
                                                           std::vector<std::string> tables,
                                                           loop::Deadline deadline);

 private:
  ipc::Client client_{"private/keyring"};
};

// Finds certificates for names that clients send in tls_server_sni_maps. Lives as long as the
// handshake, as does `keyring`.
class KeyringNames final : public NamedIdentities {
 public:
  KeyringNames(Keyring& keyring, std::vector<std::string> tables)
      : keyring_(keyring), tables_(std::move(tables)) {}
  [[nodiscard]] loop::Task<Result<IdentityPtr>> find(std::string name,
                                                     loop::Deadline deadline) override {
    return keyring_.find_named(std::move(name), tables_, deadline);
  }

 private:
  Keyring& keyring_;
  std::vector<std::string> tables_;
};

}  // namespace postern::tls
