// queue_tools.h - the queue commands that run with the administrator's own rights.

#pragma once

#include <string>

namespace postern::control {

int postsuper_main(int argc, char** argv);
int postcat_main(int argc, char** argv);

// postsuper -s, as the last thing that this process does: it gives up root's rights for it.
[[nodiscard]] int tidy_queue(const std::string& config_directory);

}  // namespace postern::control
