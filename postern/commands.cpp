#include "postern/commands.h"

#include "postern/check.h"
#include "postern/postconf.h"

namespace postern::control {

namespace {

constexpr Command kPrograms[] = {
    {"postconf", postconf_main},
};

constexpr Command kVerbs[] = {
    {"check", check_main},
    {"config", postconf_main},
    {"set-permissions", set_permissions_main},
};

}  // namespace

std::span<const Command> programs() { return kPrograms; }

std::span<const Command> verbs() { return kVerbs; }

Main find_command(std::span<const Command> commands, std::string_view name) {
  for (const Command& command : commands) {
    if (command.name == name) return command.run;
  }
  return nullptr;
}

}  // namespace postern::control
