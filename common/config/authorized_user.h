// authorized_user.h - may this user do that? authorized_submit_users, authorized_mailq_users and
// authorized_flush_users, for commands that users run.

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/config/values.h"

namespace postern::config {

struct RefusedUser {
  std::string name;  // "unknown" where the password file has none
  uid_t uid = 0;
};

// The caller's real user, when the list named `parameter` does not have it; nothing when it has.
// The first pattern that fits decides; an empty list has nobody. A table other than static: is
// asked by postmap(1), with the rights of the user. An error: it could not be asked, and the answer
// is no.
[[nodiscard]] Result<std::optional<RefusedUser>> find_refused_user(const Values& values,
                                                                   std::string_view parameter);

}  // namespace postern::config
