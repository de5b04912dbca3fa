// policy_settings.h - one check_policy_service: the endpoint, and how long and how often it is
// asked. Pure.
//
//     inet:host:port   host:port   unix:path   { inet:host:port, timeout=10s, ... }
//
// The words behind an endpoint are the smtpd_policy_service_* parameters without that prefix.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/config/params/smtpd.h"

namespace postern::policy {

struct PolicySettings {
  std::string endpoint;      // as config::policy_endpoint() writes it
  std::uint64_t number = 0;  // what broker knows it by
  std::string default_action;
  std::string policy_context;
  std::chrono::seconds timeout{100};
  std::chrono::seconds max_idle{300};
  std::chrono::seconds max_ttl{1000};
  std::chrono::seconds retry_delay{1};
  std::int64_t request_limit = 0;  // 0: no limit
  std::int64_t try_limit = 2;
  std::int64_t connection_limit = 100;
};

[[nodiscard]] PolicySettings policy_defaults(const config::SmtpdParams& params);

// kConfig where the text names no endpoint or an attribute is wrong.
[[nodiscard]] Result<PolicySettings> parse_policy_service(std::string_view text,
                                                          const PolicySettings& defaults);

}  // namespace postern::policy
