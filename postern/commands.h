// commands.h - the programs and verbs of the control program: one line each.
//
// The program looks at the name it was called by: `postconf` and its kin run as themselves,
// `postern` and `postfix` take a verb. Each is a main() of its own, with argv[0] its own name.

#pragma once

#include <span>
#include <string_view>

namespace postern::control {

using Main = int (*)(int argc, char** argv);

struct Command {
  std::string_view name;
  Main run;
};

// By the name the program was called by.
[[nodiscard]] std::span<const Command> programs();

// By the word behind `postern [-c DIR] [-D] [-v]`. -c has become MAIL_CONFIG.
[[nodiscard]] std::span<const Command> verbs();

// A verb of the whole mail system, for all instances of the machine (postmulti.h).
[[nodiscard]] bool is_for_all_instances(std::string_view verb);

// The verb of that name, or the only one that begins so: three letters at least, which no slip of
// the hand makes of another command.
[[nodiscard]] const Command* find_verb(std::string_view word);

[[nodiscard]] Main find_command(std::span<const Command> commands, std::string_view name);

}  // namespace postern::control
