// tool.h - the configuration of a command that an administrator or user runs.

#pragma once

#include <string_view>

#include "common/config/values.h"

namespace postern::config {

struct Tool {
  Values values;
  std::string directory;
};

// `option` is the value of -c or -C, empty for none. Names are not looked up in the network.
// Problems of the files themselves are left to `check`.
[[nodiscard]] Result<Tool> open_tool(std::string_view option);

}  // namespace postern::config
