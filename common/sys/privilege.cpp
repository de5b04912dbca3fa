#include "common/sys/privilege.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <memory>

#include "common/sys/fd.h"

namespace postern::sys {

namespace {
// Room for a group of thousands; what is not needed is never touched.
constexpr std::size_t kPasswdBuffer = std::size_t{64} << 10;
constexpr int kMaxGroups = 1024;
}  // namespace

Result<Account> find_account(std::string_view user) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kPasswdBuffer);
  passwd entry{};
  passwd* found = nullptr;
  const std::string name(user);
  const int error = ::getpwnam_r(name.c_str(), &entry, buffer.get(), kPasswdBuffer, &found);
  if (error != 0) return fail_errno(fmt::format("look up user {}", user), error);
  if (found == nullptr) return fail(Error::Kind::kConfig, fmt::format("unknown user: {}", user));
  return Account{.name = name,
                 .uid = entry.pw_uid,
                 .gid = entry.pw_gid,
                 .home = entry.pw_dir,
                 .shell = entry.pw_shell,
                 .groups = {entry.pw_gid}};
}

Result<void> find_groups(Account& account) {
  std::vector<gid_t> groups(kMaxGroups);
  int count = kMaxGroups;
  if (::getgrouplist(account.name.c_str(), account.gid, groups.data(), &count) < 0) {
    return fail_temporary(
        fmt::format("user {} is in more than {} groups", account.name, kMaxGroups));
  }
  groups.resize(static_cast<std::size_t>(count));
  account.groups = std::move(groups);
  return {};
}

Result<gid_t> find_group(std::string_view group) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kPasswdBuffer);
  ::group entry{};
  ::group* found = nullptr;
  const std::string name(group);
  const int error = ::getgrnam_r(name.c_str(), &entry, buffer.get(), kPasswdBuffer, &found);
  if (error != 0) return fail_errno(fmt::format("look up group {}", group), error);
  if (found == nullptr) return fail(Error::Kind::kConfig, fmt::format("unknown group: {}", group));
  return entry.gr_gid;
}

Result<void> become(const Account& account, Groups groups) {
  const bool all = groups == Groups::kSupplementary;
  const std::size_t count = all ? account.groups.size() : 1;
  const gid_t* list = all ? account.groups.data() : &account.gid;
  if (::setgroups(count, list) < 0) return fail_errno("setgroups");
  if (::setresgid(account.gid, account.gid, account.gid) < 0) return fail_errno("setresgid");
  if (::setresuid(account.uid, account.uid, account.uid) < 0) return fail_errno("setresuid");
  if (account.uid != 0 && ::setuid(0) == 0) return fail_temporary("root rights came back");
  return {};
}

Result<void> change_root(std::string_view directory) {
  const std::string path(directory);
  if (::chroot(path.c_str()) < 0) return fail_errno(fmt::format("chroot {}", directory));
  if (::chdir("/") < 0) return fail_errno("chdir /");
  return {};
}

Result<void> refuse_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("no_new_privs");
  return {};
}

void close_from(int first) { ::close_range(static_cast<unsigned>(first), ~0U, 0); }

bool is_root() { return ::geteuid() == 0; }

}  // namespace postern::sys
