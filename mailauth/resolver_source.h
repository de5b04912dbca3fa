// resolver_source.h - DNS answers of the resolver process, until a message's time is over.

#pragma once

#include <string>

#include "common/ipc/client.h"
#include "common/loop/loop.h"
#include "common/mailauth/dns_source.h"

namespace postern::mailauthd {

class ResolverSource final : public mailauth::DnsSource {
 public:
  // `resolver` outlives this. After `deadline` nothing is known any more.
  ResolverSource(ipc::Client& resolver, loop::Deadline deadline)
      : resolver_(resolver), deadline_(deadline) {}

  [[nodiscard]] loop::Task<mailauth::DnsAnswer> look_up(std::string name,
                                                        dns::RecordType type) override;

 private:
  ipc::Client& resolver_;
  loop::Deadline deadline_;
};

}  // namespace postern::mailauthd
