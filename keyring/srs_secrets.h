// srs_secrets.h - the secrets of rewritten senders, and what is made with them.

#pragma once

#include "common/config/params/mailauth.h"
#include "common/ipc/keyring.h"
#include "common/ipc/srs.h"
#include "common/mailauth/batv.h"
#include "common/mailauth/srs.h"

namespace postern::keyring {

class SrsSecrets {
 public:
  void configure(const config::MailauthParams& params);
  // Of the files that master gives, those of this purpose.
  void set(const std::vector<ipc::keyring::KeyFile>& files);

  // An error is temporary: there are no secrets.
  [[nodiscard]] Result<ipc::srs::Rewritten> rewrite(const ipc::srs::Rewrite& request,
                                                    std::int64_t now) const;

 private:
  [[nodiscard]] ipc::srs::Rewritten tag(const ipc::srs::Rewrite& request, std::int64_t now) const;
  mailauth::SrsRules rules_;
  unsigned batv_days_ = 7;
};

}  // namespace postern::keyring
