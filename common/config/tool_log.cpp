#include "common/config/tool_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "common/config/params/log.h"
#include "common/log/log.h"

namespace postern::config {

bool is_allowed_log_file(std::string_view path, const std::vector<std::string>& prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) {
    while (prefix.size() > 1 && prefix.ends_with('/')) prefix.remove_suffix(1);
    if (!path.starts_with(prefix)) return false;
    return path.size() == prefix.size() || prefix == "/" || path[prefix.size()] == '/';
  });
}

void open_tool_log(const Values& values, std::string_view program, Terminal terminal) {
  Problems problems;
  const auto params = load<LogParams>(values, problems);
  if (!params.maillog_file.empty()) {
    const bool is_file = params.maillog_file != "/dev/stdout" &&
                         is_allowed_log_file(params.maillog_file, params.maillog_file_prefixes);
    log::use_postlog(fmt::format("{}/public/{}", values.text("queue_directory"),
                                 values.text("postlog_service_name")),
                     is_file ? params.maillog_file : "");
  }
  log::open({.syslog_name = params.syslog_name,
             .program = std::string(program),
             .json = params.maillog_format == "json",
             .to_terminal = terminal == Terminal::kAlways ||
                            (terminal == Terminal::kIfThere && ::isatty(STDERR_FILENO) == 1)});
}

}  // namespace postern::config
