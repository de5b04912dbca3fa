// default_type.h - what postmap takes from main.cf; read only when it is needed.

#pragma once

#include <string>

#include "common/base/result.h"

namespace postern::postmap {

// An error where a directory is named, by -c or MAIL_CONFIG, that has no main.cf.
[[nodiscard]] Result<void> check_directory(const std::string& config_directory);

// The table type of names that have none.
[[nodiscard]] std::string default_database_type(const std::string& config_directory);

// smtputf8_enable.
[[nodiscard]] bool is_utf8_enabled(const std::string& config_directory);

// myhostname; "localhost" where there is no configuration.
[[nodiscard]] std::string host_name(const std::string& config_directory);

// "proxy:type:name" may be changed: proxy_write_maps has it.
[[nodiscard]] bool may_write_through_proxy(const std::string& config_directory,
                                           const std::string& name);

// sqlite: and its like, with settings from a file or from main.cf.
void register_database_types(const std::string& config_directory);

}  // namespace postern::postmap
