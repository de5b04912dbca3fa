// survey.h - asks DNS and each mail server of a domain, and says what it makes of their answers.

#pragma once

#include <string>

#include "common/config/values.h"

namespace postern::tlstest {

// To standard output. 0: each server that answered can be sent to under TLS that proves who it is,
// by DANE, MTA-STS or a certificate for its name; 1 otherwise.
int survey(const config::Values& values, const std::string& nexthop);

}  // namespace postern::tlstest
