// ask_postmap.h - one look-up for commands that users run: by postmap(1), with the rights of the
// user, so that such a command neither links what tables need nor opens one with rights of its own.

#pragma once

#include <optional>
#include <string>

#include "common/base/result.h"
#include "common/config/values.h"

namespace postern::config {

// Nothing where the table has no such key. A table that cannot be asked is an error.
[[nodiscard]] Result<std::optional<std::string>> ask_postmap(const Values& values,
                                                             const std::string& table,
                                                             const std::string& key);

}  // namespace postern::config
