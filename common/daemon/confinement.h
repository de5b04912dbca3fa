// confinement.h - what each daemon needs of the machine. It gets nothing else.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/config/values.h"
#include "common/sys/sandbox.h"

namespace postern::daemon {

// Whether the program runs in the network of the host; the others have one in which nobody is.
[[nodiscard]] bool needs_network(std::string_view program);

// Nothing for a program that runs what others wrote (commands, PAM modules) and for one that is
// none of ours.
[[nodiscard]] std::optional<sys::SandboxSpec> confinement_of(std::string_view program,
                                                             const config::Values& values);

// The same files in words, for people.
[[nodiscard]] std::string describe_files(std::string_view program);

}  // namespace postern::daemon
