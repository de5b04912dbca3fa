// privilege.h - giving up rights, in an order that cannot be undone.

#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::sys {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
  std::string shell;
  std::vector<gid_t> groups;  // gid, and what find_groups() has added
};

// From passwd and group; kConfig error when there is no such user. Call it before any chroot.
[[nodiscard]] Result<Account> find_account(std::string_view user);
// All groups of the account. It takes more than the account itself: every module that nsswitch.conf
// names is loaded and asked.
[[nodiscard]] Result<void> find_groups(Account& account);
[[nodiscard]] Result<gid_t> find_group(std::string_view group);

enum class Groups : unsigned char { kNone, kSupplementary };

// Groups, gid and uid, real, effective and saved. Precondition: effective uid 0.
[[nodiscard]] Result<void> become(const Account& account, Groups groups);

[[nodiscard]] Result<void> change_root(std::string_view directory);
[[nodiscard]] Result<void> refuse_new_privileges();
// Closes every descriptor from `first` on.
void close_from(int first);
[[nodiscard]] bool is_root();

}  // namespace postern::sys
