// queue_tools.h - the queue commands that run with the administrator's own rights.

#pragma once

namespace postern::control {

int postsuper_main(int argc, char** argv);
int postcat_main(int argc, char** argv);

}  // namespace postern::control
