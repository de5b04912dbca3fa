// tool_log.h - where the lines of a command go, as the configuration says.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"

namespace postern::config {

// Whether maillog_file_prefixes let the log be there.
[[nodiscard]] bool is_allowed_log_file(std::string_view path,
                                       const std::vector<std::string>& prefixes);

enum class Terminal : unsigned char { kIfThere, kNever, kAlways };

// Opens the log of a command under the name `program`: the log writer of the queue directory where
// maillog_file is set, syslog otherwise; and standard error, by default if that is a terminal.
void open_tool_log(const Values& values, std::string_view program,
                   Terminal terminal = Terminal::kIfThere);

}  // namespace postern::config
