#include "postern/mail_system.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/tool_log.h"
#include "common/log/log.h"
#include "common/sys/lock.h"

namespace postern::control {

namespace {

// The name that log readers know.
constexpr std::string_view kLogName = "postfix-script";

}  // namespace

std::string MailSystem::pid_file() const {
  const config::Values settings = values();
  const std::string place = settings.text("process_id_directory");
  const std::string below = place.starts_with('/') ? "" : settings.text("queue_directory") + "/";
  return fmt::format("{}{}/master.pid", below, place);
}

std::optional<pid_t> MailSystem::running() const {
  const std::string path = pid_file();
  const auto is_locked = sys::is_file_locked(path);
  if (!is_locked || !*is_locked) return std::nullopt;
  const auto text = config::read_file(path, 4096);
  if (!text) return std::nullopt;
  const std::string_view line = split_at_first(*text, '\n').first;
  return parse_integer<pid_t>(trim(line), 1);
}

std::optional<MailSystem> open_mail_system() {
  MailSystem system;
  system.paths = config::find_install_paths();
  const auto directory = config::choose_config_directory("", system.paths);
  if (!directory) {
    fmt::print(stderr, "postern: fatal: {}\n", directory.error().text);
    return std::nullopt;
  }
  system.directory = directory->path;
  auto loaded = config::load_configuration(system.directory, system.paths);
  if (!loaded) {
    fmt::print(stderr, "postern: fatal: {}\n", loaded.error().text);
    return std::nullopt;
  }
  system.loaded = *std::move(loaded);
  config::open_tool_log(system.values(), kLogName);
  return system;
}

int refuse(std::string_view text) {
  log::write(log::Level::kFatal, text);
  // On a terminal the log line is there already.
  if (::isatty(STDERR_FILENO) != 1) fmt::print(stderr, "{}: fatal: {}\n", kLogName, text);
  return 1;
}

}  // namespace postern::control
