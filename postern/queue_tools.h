// queue_tools.h - the queue commands that run with the administrator's own rights.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

int postsuper_main(int argc, char** argv);
int postcat_main(int argc, char** argv);
int qshape_main(int argc, char** argv);
int postlock_main(int argc, char** argv);
int postkick_main(int argc, char** argv);
int postmulti_main(int argc, char** argv);
// postern upgrade-configuration
int upgrade_configuration_main(int argc, char** argv);
// The text with the services that it lacks; `added` gets their names.
[[nodiscard]] std::string with_missing_services(std::string_view master_cf,
                                                std::vector<std::string>& added);
// postern queue VERB
int queue_main(int argc, char** argv);
// postern why ID|ADDRESS|DOMAIN
int why_main(int argc, char** argv);

// postsuper -s, as the last thing that this process does: it gives up root's rights for it.
[[nodiscard]] int tidy_queue(const std::string& config_directory);

}  // namespace postern::control
