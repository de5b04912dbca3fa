// confinement_report.h - what the running daemons may do, as the kernel tells it.

#pragma once

#include <sys/types.h>

#include <string>

namespace postern::control {

// A table of master and all that it has started, in the order of their programs: user, root
// directory, network, system calls, new privileges, capabilities, all from /proc; and the files
// that Landlock leaves, which only their declaration tells. A process that ends meanwhile is left
// out.
[[nodiscard]] std::string print_confinement(pid_t master);

}  // namespace postern::control
