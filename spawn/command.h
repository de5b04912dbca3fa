// command.h - what a spawn line of master.cf says: user=name[:group] argv=command arguments...

#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"

namespace postern::spawn {

struct Command {
  std::string user;
  std::string group;  // empty: the user's own
  std::vector<std::string> arguments;
};

// kConfig where user= or argv= is missing, or something else stands there.
[[nodiscard]] Result<Command> parse_command(const std::vector<std::string>& words);

}  // namespace postern::spawn
