#include "common/config/install_paths.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/values.h"

#ifndef POSTERN_CONFIGURED_PREFIX
#define POSTERN_CONFIGURED_PREFIX "/usr"
#endif

namespace postern::config {

namespace {

// Programs that no other mail system has under these names.
constexpr std::array<std::string_view, 4> kOnlyOurDaemons = {"tables", "resolver", "broker",
                                                             "keyring"};

bool is_directory(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

std::string absolute(std::string_view path) {
  if (!path.starts_with('/')) {
    std::array<char, PATH_MAX> here{};
    if (getcwd(here.data(), here.size()) != nullptr) {
      return without_trailing_slashes(fmt::format("{}/{}", here.data(), path));
    }
  }
  return without_trailing_slashes(path);
}

}  // namespace

InstallPaths paths_below(std::string_view prefix) {
  const std::string p = without_trailing_slashes(prefix.empty() ? "/usr" : prefix);
  const std::string etc = p == "/usr" ? "/etc" : p + "/etc";
  const std::string var = p == "/usr" ? "/var" : p + "/var";
  return {.prefix = p,
          .command_directory = p + "/sbin",
          .bin_directory = p + "/bin",
          .daemon_directory = p + "/libexec/postern",
          .config_directory = etc + "/postern",
          .aliases = etc + "/aliases",
          .queue_directory = var + "/spool/postern",
          .data_directory = var + "/lib/postern"};
}

std::string prefix_of_program(std::string_view executable) {
  const std::string_view directory = split_at_last(executable, '/').first;
  for (const std::string_view below : {"/libexec/postern", "/sbin", "/bin"}) {
    if (directory.ends_with(below) && directory.size() > below.size()) {
      return std::string(directory.substr(0, directory.size() - below.size()));
    }
  }
  return "";
}

bool has_borrowed_rights() { return getuid() != geteuid() || getgid() != getegid(); }

InstallPaths find_install_paths() {
  if (const char* const prefix = secure_getenv("POSTERN_PREFIX"); prefix != nullptr) {
    if (prefix[0] == '/') return paths_below(prefix);
  }
  std::array<char, PATH_MAX> executable{};
  const ssize_t length = readlink("/proc/self/exe", executable.data(), executable.size() - 1);
  if (length > 0) {
    const std::string prefix =
        prefix_of_program({executable.data(), static_cast<std::size_t>(length)});
    if (!prefix.empty()) return paths_below(prefix);
  }
  return paths_below(POSTERN_CONFIGURED_PREFIX);
}

std::string default_config_directory(const InstallPaths& paths) {
  if (is_directory(paths.config_directory)) return paths.config_directory;
  const std::string postfix(kPostfixConfigDirectory);
  return is_directory(postfix) ? postfix : paths.config_directory;
}

bool is_trusted_config_directory(std::string_view directory, const InstallPaths& paths) {
  const std::string wanted = absolute(directory);
  const std::string trusted = default_config_directory(paths);
  if (wanted == trusted) return true;
  const auto loaded = load_configuration(trusted, paths, Extent::kWithoutNetwork);
  if (!loaded) return false;
  const Values values(loaded->snapshot);
  for (const std::string_view name :
       {"alternate_config_directories", "multi_instance_directories"}) {
    for (const std::string& listed : split_list(values.text(name))) {
      if (without_trailing_slashes(listed) == wanted) return true;
    }
  }
  return false;
}

Result<ConfigDirectory> choose_config_directory(std::string_view option,
                                                const InstallPaths& paths) {
  ConfigDirectory chosen;
  if (!option.empty()) {
    chosen = {absolute(option), ConfigSource::kOption};
  } else if (const char* const named = std::getenv("MAIL_CONFIG");
             named != nullptr && named[0] != '\0') {
    chosen = {absolute(named), ConfigSource::kEnvironment};
  } else {
    return ConfigDirectory{default_config_directory(paths), ConfigSource::kDefault};
  }
  if (has_borrowed_rights() && getuid() != 0 && !is_trusted_config_directory(chosen.path, paths)) {
    return fail(Error::Kind::kConfig,
                fmt::format("unauthorized configuration directory {}: alternate_config_directories "
                            "of the default main.cf does not list it",
                            chosen.path));
  }
  return chosen;
}

bool holds_our_daemons(const std::string& directory) {
  return std::ranges::any_of(kOnlyOurDaemons, [&](std::string_view program) {
    return access(fmt::format("{}/{}", directory, program).c_str(), X_OK) == 0;
  });
}

bool holds_our_commands(const std::string& directory) {
  return access((directory + "/postern").c_str(), X_OK) == 0;
}

}  // namespace postern::config
