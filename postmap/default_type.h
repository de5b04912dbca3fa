// default_type.h - what postmap takes from main.cf; read only when it is needed.

#pragma once

#include <string>

namespace postern::postmap {

// The table type of names that have none.
[[nodiscard]] std::string default_database_type(const std::string& config_directory);

// sqlite: and its like, with settings from a file or from main.cf.
void register_database_types(const std::string& config_directory);

}  // namespace postern::postmap
