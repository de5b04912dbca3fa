// check_tables.h - what is wrong with one table that a parameter names.

#pragma once

#include <string_view>

#include "common/config/problem.h"
#include "common/config/values.h"

namespace postern::control {

// Adds it to `problems`. `is_plain` is a list where a word with a colon need not be a table.
void check_table(const config::Values& values, std::string_view parameter, std::string_view word,
                 bool is_plain, config::Problems& problems);

}  // namespace postern::control
