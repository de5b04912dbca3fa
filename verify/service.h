// service.h - answers about addresses from the cache, and probes for those that it does not know.
//
// A probe is a message from address_verify_sender that qmgr hands to the agents like any other;
// they stop before its content and tell qmgr, which tells us. smtpd waits here until then.

#pragma once

#include <memory>
#include <string>

#include "common/base/keyed_hash.h"
#include "common/config/params/verify.h"
#include "common/daemon/daemon.h"
#include "common/ipc/cleanup_client.h"
#include "common/ipc/server.h"
#include "common/table/kept.h"
#include "verify/record.h"

namespace postern::verify {

// address_verify_map: with the rights of mail_owner, before those of root are given up.
[[nodiscard]] table::Kept open_store(daemon::Process& process);

class Service {
 public:
  Service(daemon::Process& process, table::Kept store);
  void start();

 private:
  struct Waiting {
    loop::Condition ended;
    unsigned waiters = 0;
  };

  void configure();
  [[nodiscard]] loop::Task<Result<ipc::verify::Answer>> ask(ipc::verify::Ask request);
  void take(const ipc::verify::Outcome& outcome);
  loop::Task<void> send_probe(std::string address);
  loop::Task<void> clean();
  [[nodiscard]] Record find(const std::string& key) const;

  daemon::Process& process_;
  table::Kept store_;
  ipc::Server server_;
  ipc::CleanupClient cleanup_;
  config::VerifyParams params_;
  Rules rules_;
  std::string myorigin_;
  std::int64_t under_way_ = 0;
  StringMap<std::shared_ptr<Waiting>> waiting_;
  loop::CallbackTimer clean_timer_;
};

}  // namespace postern::verify
