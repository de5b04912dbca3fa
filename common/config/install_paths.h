// install_paths.h - where Postern is installed and which configuration it reads.
//
// The prefix P is, in this order: POSTERN_PREFIX (not for set-gid programs: an ordinary user may
// not choose what they run), the place of the running program, the one given to the build. /usr
// means /etc/postern, /etc/aliases and /var; any other P means P/etc/postern, P/etc/aliases and
// P/var.
//
// The configuration directory is that of -c or -C, of MAIL_CONFIG, P/etc/postern where it exists,
// or else /etc/postfix. The last keeps Postfix's queue_directory and data_directory, so that a
// machine that ran Postfix goes on with what it has.

#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::config {

inline constexpr std::string_view kPostfixConfigDirectory = "/etc/postfix";

struct InstallPaths {
  std::string prefix;
  std::string command_directory;  // P/sbin
  std::string bin_directory;      // P/bin
  std::string daemon_directory;   // P/libexec/postern
  std::string config_directory;   // P/etc/postern
  std::string aliases;            // P/etc/aliases
  std::string queue_directory;    // P/var/spool/postern
  std::string data_directory;     // P/var/lib/postern

  friend bool operator==(const InstallPaths&, const InstallPaths&) = default;
};

// Pure: the tree below a prefix.
[[nodiscard]] InstallPaths paths_below(std::string_view prefix);

// Pure: the prefix that a program's path shows, e.g. /opt/p for /opt/p/libexec/postern/smtpd;
// empty when it shows none.
[[nodiscard]] std::string prefix_of_program(std::string_view executable);

// By the rule above, for this process.
[[nodiscard]] InstallPaths find_install_paths();

// Whether this process runs with rights that its user does not have.
[[nodiscard]] bool has_borrowed_rights();

enum class ConfigSource : unsigned char { kOption, kEnvironment, kDefault };
struct ConfigDirectory {
  std::string path;
  ConfigSource source = ConfigSource::kDefault;
};

// `option` is the value of -c, empty when there was none. A relative path is made absolute. Fails
// for a directory that an ordinary user has chosen for a set-gid program and that the default
// main.cf does not list.
[[nodiscard]] Result<ConfigDirectory> choose_config_directory(std::string_view option,
                                                              const InstallPaths& paths);

// P/etc/postern if it exists, else /etc/postfix if it does, else P/etc/postern.
[[nodiscard]] std::string default_config_directory(const InstallPaths& paths);

// Whether the main.cf of the default directory lists `directory` in alternate_config_directories
// or multi_instance_directories. The default directory itself is always trusted.
[[nodiscard]] bool is_trusted_config_directory(std::string_view directory,
                                               const InstallPaths& paths);

// Whether a directory holds daemons (or commands) of Postern, not of another mail system.
[[nodiscard]] bool holds_our_daemons(const std::string& directory);
[[nodiscard]] bool holds_our_commands(const std::string& directory);

}  // namespace postern::config
