// endpoints.h - the partners that the configuration names: who may be connected to, and the number
// that a process asks broker for.
//
// smtpd never names an address: it asks for a number, which is a hash of the endpoint's canonical
// text, so that processes with an older and a newer configuration mean the same. broker connects
// only to what the configuration in force names.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/config/values.h"

namespace postern::config {

// "inet:host:port" or "unix:path" from what check_policy_service may name: `inet:host:port`,
// `host:port`, `inet:port`, `[host]:port`, `unix:path`, `local:path`.
[[nodiscard]] Result<std::string> canonical_endpoint(std::string_view text);

[[nodiscard]] std::uint64_t endpoint_number(std::string_view canonical);

// The endpoint of a word that may be `{ endpoint, name=value ... }`.
[[nodiscard]] std::string_view endpoint_word(std::string_view word);

// All endpoints in main.cf and master.cf, by number: behind check_policy_service, of milters, of
// smtpd_proxy_filter and, for Dovecot, of smtpd_sasl_path.
[[nodiscard]] std::map<std::uint64_t, std::string> configured_endpoints(const Values& values);

}  // namespace postern::config
