// password.h - postern password: an entry for smtpd_sasl_password_maps.

#pragma once

namespace postern::control {

// [--scheme NAME] [--check ENTRY] [USER]
int password_main(int argc, char** argv);

}  // namespace postern::control
