// service.h - what smtpd and cleanup ask of mailauth.

#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/config/params/mailauth.h"
#include "common/daemon/daemon.h"
#include "common/ipc/client.h"
#include "common/ipc/mailauth.h"
#include "common/ipc/server.h"
#include "common/loop/worker_pool.h"
#include "common/mailauth/examination.h"
#include "mailauth/signing.h"

namespace postern::mailauthd {

// dmarc_public_suffix_list; where it cannot be read, that of libpsl, with a warning.
[[nodiscard]] mailauth::PublicSuffixes open_suffixes(daemon::Process& process);

class Service {
 public:
  Service(daemon::Process& process, mailauth::PublicSuffixes suffixes);
  void start();

 private:
  void configure();
  [[nodiscard]] loop::Task<Result<ipc::mailauth::SpfAnswer>> check_spf(
      ipc::mailauth::CheckSpf request);
  [[nodiscard]] loop::Task<Result<ipc::mailauth::Examined>> examine(ipc::mailauth::Examine request,
                                                                    std::vector<sys::Fd> fds);
  [[nodiscard]] loop::Task<Result<ipc::mailauth::Signed>> sign(ipc::mailauth::Sign request,
                                                               std::vector<sys::Fd> fds);
  void end();

  daemon::Process& process_;
  mailauth::PublicSuffixes suffixes_;
  ipc::Server server_;
  ipc::Client resolver_{"private/resolver"};
  ipc::Client keyring_{"private/keyring"};
  ipc::Client reports_{"private/reports"};
  bool is_reporting_ = false;
  ipc::TablesClient tables_;
  loop::WorkerPool pool_;
  config::MailauthParams params_;
  std::shared_ptr<const mailauth::VerdictRules> rules_;
  std::shared_ptr<const SigningRules> signing_;
  std::size_t under_way_ = 0;
  std::minstd_rand random_;
};

}  // namespace postern::mailauthd
