// postconf.h - postconf(1): shows and edits main.cf and master.cf.

#pragma once

namespace postern::control {

int postconf_main(int argc, char** argv);

}  // namespace postern::control
