// srv.h - in which order the servers of a service are tried. Pure.
//
// RFC 2782: by priority; among equals one after the other is drawn, each with the chance that its
// weight has among those left. A single record with the root as its target means that the domain
// does not offer the service.

#pragma once

#include <vector>

#include "common/dns/mx.h"
#include "common/dns/wire.h"

namespace postern::dns {

struct SrvPlan {
  std::vector<Srv> servers{};
  bool is_null = false;  // the service is not offered
};

// From the records of an SRV answer. Targets that are no host names are left out.
[[nodiscard]] SrvPlan plan_srv(const std::vector<Record>& records, const Random& random);

}  // namespace postern::dns
