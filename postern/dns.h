// dns.h - `postern dns DOMAIN [--zone]`: the records that this host and a domain of its mail should
// have, and which of them DNS has.

#pragma once

#include <string>

#include "common/config/values.h"

namespace postern::control {

int dns_main(int argc, char** argv);

// A line for each record, and how to write those that are missing. False: one that is needed is.
bool print_survey(const config::Values& values, const std::string& domain);

}  // namespace postern::control
