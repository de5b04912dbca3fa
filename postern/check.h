// check.h - `postern check`: everything that is wrong with the configuration, in one go.
//
// A warning is what works other than it was meant or does nothing (a misspelt name, a parameter
// that is not built yet); an error is what cannot work (syntax, a bad value, a missing table). The
// same list decides whether `reload` is refused, and whether `start` can go on.

#pragma once

#include <memory>
#include <string>

#include "common/config/load.h"
#include "common/config/problem.h"

namespace postern::control {

// A snapshot that somebody else keeps, for Values that live shorter.
[[nodiscard]] inline std::shared_ptr<const config::Snapshot> unowned(
    const config::Snapshot& snapshot) {
  return {std::shared_ptr<const config::Snapshot>(), &snapshot};
}

// Syntax problems of `loaded` included; in the order of the files and their lines.
[[nodiscard]] config::Problems check_configuration(const config::Loaded& loaded);

// Parts of it, for those who have a snapshot but no files.
[[nodiscard]] config::Problems check_values(const config::Snapshot& snapshot);
[[nodiscard]] config::Problems check_services(const config::Snapshot& snapshot);
[[nodiscard]] config::Problems check_tables(const config::Snapshot& snapshot);
// Restriction lists of each smtpd service: misspelt words, words that are never reached, tables
// that are missing, none that keeps strangers from relaying.
[[nodiscard]] config::Problems check_restrictions(const config::Snapshot& snapshot);
// Services that want one port.
[[nodiscard]] config::Problems check_listeners(const config::Snapshot& snapshot);
// Services that run behind a chroot which lacks what they need.
[[nodiscard]] config::Problems check_chroots(const config::Snapshot& snapshot);
// Addresses of services that other programs have, or that this machine has not. Nothing while the
// mail system itself runs.
[[nodiscard]] config::Problems check_busy_ports(const config::Snapshot& snapshot);
// Logins at ours and at other servers.
[[nodiscard]] config::Problems check_logins(const config::Snapshot& snapshot);
[[nodiscard]] config::Problems check_accounts(const config::Snapshot& snapshot);

// Aligned lines "main.cf:14  warning  text"; paths below `directory` without it.
[[nodiscard]] std::string print_problems(const config::Problems& problems,
                                         const std::string& directory);
// An array of objects.
[[nodiscard]] std::string print_problems_json(const config::Problems& problems);

// check [-c DIR] [--strict] [--json]: 0 without errors, 1 with errors, or with warnings where
// --strict is given.
int check_main(int argc, char** argv);

// set-permissions: owners and modes of conf/owners.
int set_permissions_main(int argc, char** argv);

}  // namespace postern::control
