// programs.h - which daemon serves a line of master.cf: Postfix's names for service programs, and
// who does their work here.

#pragma once

#include <optional>
#include <string_view>

namespace postern::config {

enum class LimitKind : unsigned char {
  kClients,  // maxproc is the most clients or deliveries served at once
  kNone,     // one program serves all; maxproc has no effect
};

struct ServiceProgram {
  std::string_view name;    // in master.cf
  std::string_view daemon;  // the program below daemon_directory; empty: the line starts nothing
  LimitKind limit = LimitKind::kNone;
  bool is_agent = false;  // a delivery agent: `-` as maxproc is default_process_limit
};

// Nothing for a name that is neither Postfix's nor ours: then it is the daemon's own name.
[[nodiscard]] std::optional<ServiceProgram> find_service_program(std::string_view name);

}  // namespace postern::config
