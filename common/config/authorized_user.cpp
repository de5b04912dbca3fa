#include "common/config/authorized_user.h"

#include <pwd.h>
#include <unistd.h>

#include "common/config/ask_postmap.h"
#include "common/config/site_list.h"

namespace postern::config {

Result<std::optional<RefusedUser>> find_refused_user(const Values& values,
                                                     std::string_view parameter) {
  using Kind = SiteList::Match::Kind;
  const SiteList list(values.list(parameter), false, values);
  // The stock list, static:anyone, has everybody: a look into the password file for each message is
  // not for nothing.
  const auto first = list.match({});
  if (first.table.starts_with("static:") && first.if_found == Kind::kYes && first.next == 1) {
    return std::nullopt;
  }
  const passwd* const entry = ::getpwuid(::getuid());
  RefusedUser user{entry == nullptr ? "unknown" : entry->pw_name, ::getuid()};
  auto match = list.match(user.name);
  while (match.kind == Kind::kAskTable) {
    bool is_listed = match.table.starts_with("static:");
    if (!is_listed) {
      TRY(const auto found, ask_postmap(values, std::string(match.table), user.name));
      is_listed = found.has_value();
    }
    if (is_listed) {
      match.kind = match.if_found;
    } else {
      match = list.match(user.name, match.next);
    }
  }
  if (match.kind == Kind::kYes) return std::nullopt;
  return user;
}

}  // namespace postern::config
