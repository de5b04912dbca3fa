// dns_lookup.h - one DNS question of a verb, to the servers of resolv.conf; the mail system need
// not run.

#pragma once

#include <string>

#include "common/mailauth/dns_source.h"

namespace postern::control {

// Records as mailauth::DnsAnswer has them: addresses, host names, texts.
[[nodiscard]] mailauth::DnsAnswer look_up(std::string name, dns::RecordType type);

}  // namespace postern::control
