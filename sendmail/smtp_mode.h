// smtp_mode.h - sendmail -bs: SMTP on standard input, for mail programs that speak nothing else.
//
// The messages are submitted like any other local mail; nothing here has more rights than the user.

#pragma once

#include <string>

#include "common/config/values.h"

namespace postern::sendmail {

// Returns the exit status.
[[nodiscard]] int run_smtp(const config::Values& values, const std::string& config_directory);

}  // namespace postern::sendmail
