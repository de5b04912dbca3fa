// lint.h - names in the configuration that nobody knows, and those that do nothing yet.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/problem.h"
#include "common/config/snapshot.h"

namespace postern::config {

// How many insertions, deletions, replacements and swaps of neighbours turn one into the other;
// anything beyond `limit` counts as limit + 1.
[[nodiscard]] unsigned edit_distance(std::string_view a, std::string_view b, unsigned limit);

// The known parameter that is closest to a name, where one is close enough to be meant.
[[nodiscard]] std::optional<std::string_view> nearest_param(std::string_view name);

// Whether the name means something in this configuration: a parameter, one of a transport, of a
// database (`ldap:name` has name_server_host), a restriction class, or one that the administrator
// made up and uses as $name.
[[nodiscard]] bool is_used_name(const Snapshot& snapshot, std::string_view name);

// Names that main.cf or the values in master.cf refer to as $name.
[[nodiscard]] std::vector<std::string> referenced_names(const Snapshot& snapshot);

// Unknown names with the nearest known one, names without effect yet, $names that nothing defines:
// all warnings.
[[nodiscard]] Problems lint_names(const Snapshot& snapshot);

}  // namespace postern::config
