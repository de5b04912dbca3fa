// owners.h - who must own the queue, the data directory and the set-gid commands.
//
// The table is conf/owners. `start` makes what is missing, `check` compares, `set-permissions`
// sets. Nothing here follows a symbolic link at the end of a path: the queue belongs to an
// unprivileged user, and root changes owners in it.

#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/problem.h"
#include "common/config/values.h"

namespace postern::control {

struct OwnerRule {
  bool is_directory = false;
  std::string path;
  std::string owner;
  std::string group;  // empty: leave it alone
  mode_t mode = 0;
};

// A table like conf/owners with $names expanded.
[[nodiscard]] Result<std::vector<OwnerRule>> parse_owner_rules(std::string_view text,
                                                               const config::Values& values);

// Those of this build.
[[nodiscard]] std::vector<OwnerRule> owner_rules(const config::Values& values);

// What differs from the table; what is missing is not reported. Warnings only.
[[nodiscard]] config::Problems check_owners(const config::Values& values);

// Makes missing directories of the queue and the data directory, with their owners and modes where
// this process may give them.
[[nodiscard]] config::Problems make_directories(const config::Values& values);

// Sets owners and modes of all that is there, makes what is missing. Needs root.
[[nodiscard]] config::Problems set_permissions(const config::Values& values);

}  // namespace postern::control
