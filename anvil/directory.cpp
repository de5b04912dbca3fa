#include "anvil/directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "common/daemon/confinement.h"

namespace postern::anvil {

namespace {

constexpr const char* kName = "anvil";
constexpr const char* kFiles[] = {"bans", "first_contact", "greylist", "quotas"};

// Nothing that a link stands for, by whatever kind of link: data_directory is not root's.
Result<void> give(int fd, const sys::Account& account, const sys::Account& mail_owner) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys::fail_errno("fstat");
  if (status.st_uid == account.uid || !sys::is_root()) return {};
  const auto own = daemon::own_users(mail_owner);
  const bool is_ours = status.st_uid == 0 || std::ranges::find(own, status.st_uid) != own.end();
  if (!is_ours || (S_ISREG(status.st_mode) && status.st_nlink != 1)) return {};
  if (::fchown(fd, account.uid, account.gid) != 0) return sys::fail_errno("chown");
  return {};
}

}  // namespace

Result<sys::Fd> open_directory(const std::string& data_directory, const sys::Account& account,
                               const sys::Account& mail_owner) {
  const auto failed = [&](std::string_view doing) {
    return sys::fail_errno(fmt::format("{} {}/{}", doing, data_directory, kName));
  };
  constexpr int kFlags = O_NOFOLLOW | O_CLOEXEC;
  const sys::Fd data(::open(data_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!data) return sys::fail_errno(fmt::format("open {}", data_directory));
  if (::mkdirat(data.get(), kName, 0700) != 0 && errno != EEXIST) return failed("make");
  sys::Fd directory(::openat(data.get(), kName, O_RDONLY | O_DIRECTORY | kFlags));
  if (!directory) return failed("open");
  DO(give(directory.get(), account, mail_owner));
  for (const char* const name : kFiles) {
    ::renameat2(data.get(), name, directory.get(), name, RENAME_NOREPLACE);
    // What was never finished may be somebody's who cannot be replaced.
    ::unlinkat(directory.get(), fmt::format("{}.new", name).c_str(), 0);
    const sys::Fd file(::openat(directory.get(), name, O_RDONLY | O_NONBLOCK | kFlags));
    if (file) DO(give(file.get(), account, mail_owner));
  }
  return directory;
}

}  // namespace postern::anvil
