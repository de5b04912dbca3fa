// explain_queue.h - the second half of `postern explain`: what becomes of mail that is taken, as
// far as its envelope tells.

#pragma once

#include <string>

#include "common/config/values.h"

namespace postern::control {

// Prints rewriting, aliases, automatic copies and where each recipient goes in the end, with the
// filters and checks that look at the content. `smtpd` are the values of the service's line.
// False when a table refuses the mail.
bool explain_queue(const config::Values& smtpd, const config::Values& cleanup,
                   const std::string& sender, const std::string& recipient);

}  // namespace postern::control
