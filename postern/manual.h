// manual.h - fills the parameter lists of the manual pages in man/ from the declarations.
//
// A page marks the place of a list with a comment of its own:
//
//     .\" parameters: smtpd delay_warning_time      what is built of an area, and single names
//     .\" parameters: all                           what is built of all areas
//     .\" parameters: no-effect                     what is accepted and needs no action here
//     .\" parameters: not-yet                       what is known by name only
//
// The names in one list are sorted. A word that is neither an area nor a parameter that is built
// is an error, so that pages do not speak of what is not there.

#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/config/param.h"

namespace postern::control {

[[nodiscard]] Result<std::string> fill_manual_page(std::string_view page);

// "time; default: 300s": type, default and standing of a parameter.
[[nodiscard]] std::string parameter_facts(const config::ParamInfo& param);

// config man: a page from standard input to standard output. For the build; no configuration is
// read. Gives 1 for a page that cannot be filled.
int config_man_main(int argc, char** argv);

}  // namespace postern::control
