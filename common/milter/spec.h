// spec.h - one milter as the configuration names it, and what is common to all of a list.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"

namespace postern::milter {

struct Spec {
  std::string endpoint;      // "inet:127.0.0.1:8891"
  std::uint64_t number = 0;  // what broker knows it by
  std::chrono::seconds connect_timeout{30};
  std::chrono::seconds command_timeout{30};
  std::chrono::seconds content_timeout{300};
  std::string default_action = "tempfail";
  std::uint32_t version = 6;
};

// The values of milter_* and the lists of macro names; names are those of the stages.
struct ListSettings {
  std::vector<Spec> milters;
  Spec defaults;
  std::vector<std::string> connect_macros, helo_macros, mail_macros, rcpt_macros, data_macros,
      end_of_header_macros, end_of_data_macros, unknown_command_macros;
  std::map<std::string, std::string, std::less<>> macro_defaults;
  std::string daemon_name;  // milter_macro_daemon_name
  std::string v;            // milter_macro_v
};

// `parameter` is smtpd_milters or non_smtpd_milters.
[[nodiscard]] ListSettings read_list(const config::Values& values, std::string_view parameter,
                                     config::Problems& problems);
// `inet:host:port`, `unix:path`, or `{ endpoint, name = value, ... }`.
[[nodiscard]] Result<Spec> parse_spec(std::string_view word, const Spec& defaults);

}  // namespace postern::milter
