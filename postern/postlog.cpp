// postlog(1): a line of a script in the mail log.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/base/text.h"
#include "common/config/tool_log.h"
#include "common/log/log.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

std::optional<log::Level> parse_priority(std::string_view name) {
  if (name == "info") return log::Level::kInfo;
  if (name == "warn" || name == "warning") return log::Level::kWarning;
  if (name == "error") return log::Level::kError;
  if (name == "fatal") return log::Level::kFatal;
  if (name == "panic") return log::Level::kPanic;
  return std::nullopt;
}

}  // namespace

int postlog_main(int argc, char** argv) {
  std::string directory;
  std::string tag;
  std::string priority = "info";
  for (int letter = 0; (letter = ::getopt(argc, argv, "c:ip:t:v")) != -1;) {
    switch (letter) {
      case 'c':
        directory = ::optarg;
        break;
      case 'p':
        priority = ::optarg;
        break;
      case 't':
        tag = ::optarg;
        break;
      case 'i':  // the process id is always there
      case 'v':
        break;
      default:
        fmt::print(stderr,
                   "postlog: fatal: usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] "
                   "[-v] [text]\n");
        return 1;
    }
  }
  const auto level = parse_priority(priority);
  if (!level) {
    fmt::print(stderr, "postlog: fatal: bad severity: \"{}\"\n", priority);
    return 1;
  }
  const config::InstallPaths paths = config::find_install_paths();
  const auto chosen = config::choose_config_directory(directory, paths);
  auto loaded =
      chosen ? config::load_configuration(chosen->path, paths, config::Extent::kWithoutNetwork)
             : Result<config::Loaded>(std::unexpected(chosen.error()));
  if (!loaded) {
    fmt::print(stderr, "postlog: fatal: {}\n", loaded.error().text);
    return 1;
  }
  const config::Values values(loaded->snapshot);
  const std::string file = values.text("maillog_file");
  if (!file.empty() && !config::is_allowed_log_file(file, values.list("maillog_file_prefixes"))) {
    fmt::print(stderr,
               "postlog: fatal: maillog_file value '{}' does not match any prefix in "
               "maillog_file_prefixes\n",
               file);
    return 1;
  }
  config::open_tool_log(values, "postlog");
  // A tag that was given is the whole of it.
  if (!tag.empty()) {
    log::open({.syslog_name = "", .program = tag, .to_terminal = ::isatty(STDERR_FILENO) == 1});
  }
  if (optind < argc) {
    std::string text;
    for (int i = optind; i < argc; ++i) {
      if (i > optind) text += ' ';
      text += argv[i];
    }
    log::write(*level, text);
    return 0;
  }
  char* line = nullptr;
  std::size_t size = 0;
  while (::getline(&line, &size, stdin) >= 0) {
    log::write(*level, trim_right(line, "\r\n"));
  }
  std::free(line);
  return 0;
}

}  // namespace postern::control
