// default_type.h - what main.cf says about tables that are given without a type.

#pragma once

#include <string>

namespace postern::postmap {

// default_database_type of the given configuration (empty: the installed one); "lmdb" where that
// cannot be read: postmap must work before there is a main.cf.
[[nodiscard]] std::string default_database_type(const std::string& config_directory);

}  // namespace postern::postmap
