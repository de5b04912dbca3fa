// greylist.h - postern greylist: what smtpd_greylist remembers.

#pragma once

namespace postern::control {

// list | stats | allow ADDRESS | disallow ADDRESS
int greylist_main(int argc, char** argv);

}  // namespace postern::control
