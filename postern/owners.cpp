#include "postern/owners.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/daemon/confinement.h"
#include "common/sys/fd.h"
#include "owners_text.h"

namespace postern::control {

namespace {

using config::Problem;
using config::Problems;
using config::Severity;
using config::Values;

constexpr mode_t kModeBits = 07777;

std::optional<uid_t> find_uid(const std::string& name) {
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0) return {};
  if (found == nullptr) return std::nullopt;
  return found->pw_uid;
}

std::optional<gid_t> find_gid(const std::string& name) {
  std::array<char, 65536> buffer{};
  group entry{};
  group* found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0) return {};
  if (found == nullptr) return std::nullopt;
  return found->gr_gid;
}

Problem warning(const std::string& path, std::string text) {
  return {path, 0, "", std::move(text), Severity::kWarning};
}

// The first missing directories on the way to a path belong to root.
void make_parents(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    mkdir(path.substr(0, at).c_str(), 0755);
  }
}

// Gives the object at `fd` the owner and mode of its rule.
void apply(const OwnerRule& rule, int fd, Problems& problems) {
  constexpr auto kSame = static_cast<gid_t>(-1);
  const auto uid = find_uid(rule.owner);
  auto gid = rule.group.empty() ? std::optional(kSame) : find_gid(rule.group);
  mode_t mode = rule.mode;
  if (!gid && rule.group == daemon::kRoleGroup) {
    gid = kSame;
    mode &= ~mode_t{S_IRWXG};
  }
  if (!uid) {
    problems.push_back(warning(rule.path, fmt::format("there is no user {}", rule.owner)));
    return;
  }
  if (!gid) {
    problems.push_back(warning(rule.path, fmt::format("there is no group {}", rule.group)));
    return;
  }
  // The mode last: a change of owner clears the set-gid bit.
  if (fchown(fd, *uid, *gid) != 0 || fchmod(fd, mode) != 0) {
    problems.push_back(
        warning(rule.path, fmt::format("cannot set owner and mode: {}", sys::errno_text(errno))));
  }
}

sys::Fd open_object(const OwnerRule& rule) {
  const int kind = rule.is_directory ? O_DIRECTORY : O_NONBLOCK;
  return sys::Fd(::open(rule.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | kind));
}

void make_directory(const OwnerRule& rule, Problems& problems) {
  struct stat status{};
  if (lstat(rule.path.c_str(), &status) == 0) return;
  make_parents(rule.path);
  if (mkdir(rule.path.c_str(), 0700) != 0) {
    problems.push_back({rule.path, 0, "",
                        fmt::format("cannot make directory: {}", sys::errno_text(errno)),
                        Severity::kError});
    return;
  }
  const sys::Fd fd = open_object(rule);
  if (!fd) return;
  if (geteuid() == 0)
    apply(rule, fd.get(), problems);
  else
    fchmod(fd.get(), rule.mode);
}

}  // namespace

Result<std::vector<OwnerRule>> parse_owner_rules(std::string_view text, const Values& values) {
  std::vector<OwnerRule> rules;
  for (const std::string_view line : split_fields(text, '\n')) {
    const auto words = split_words(line.substr(0, line.find('#')), kBlanks);
    if (words.empty()) continue;
    if (words.size() != 5 || (words[0] != "directory" && words[0] != "file")) {
      return fail(Error::Kind::kConfig, fmt::format("bad line in table of owners: {}", line));
    }
    const auto mode = parse_integer<unsigned>(words[4], 0U, unsigned{kModeBits}, 8);
    if (!mode) {
      return fail(Error::Kind::kConfig, fmt::format("bad mode in table of owners: {}", line));
    }
    OwnerRule rule;
    rule.is_directory = words[0] == "directory";
    rule.mode = *mode;
    TRY(rule.path, values.expand_text(words[1]));
    TRY(rule.owner, values.expand_text(words[2]));
    if (words[3] != "-") {
      TRY(rule.group, values.expand_text(words[3]));
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::vector<OwnerRule> owner_rules(const Values& values) {
  return parse_owner_rules(kOwnersText, values).value_or(std::vector<OwnerRule>());
}

Problems check_owners(const Values& values) {
  Problems problems;
  for (const OwnerRule& rule : owner_rules(values)) {
    struct stat status{};
    if (lstat(rule.path.c_str(), &status) != 0) continue;
    if (rule.is_directory && S_ISLNK(status.st_mode)) {
      if (stat(rule.path.c_str(), &status) != 0) continue;
    }
    const bool is_expected = rule.is_directory ? S_ISDIR(status.st_mode) : S_ISREG(status.st_mode);
    if (!is_expected) {
      problems.push_back(
          warning(rule.path, rule.is_directory ? "not a directory" : "not a regular file"));
      continue;
    }
    const auto uid = find_uid(rule.owner);
    if (uid && status.st_uid != *uid) {
      problems.push_back(
          warning(rule.path, fmt::format("not owned by {}: {}", rule.owner, rule.path)));
    }
    const auto gid = rule.group.empty() ? std::nullopt : find_gid(rule.group);
    if (gid && status.st_gid != *gid) {
      problems.push_back(
          warning(rule.path, fmt::format("not owned by group {}: {}", rule.group, rule.path)));
    }
    // Stricter is a choice; more rights for others, or a missing set-gid bit, are not.
    const mode_t mode = status.st_mode & kModeBits;
    const mode_t writable = mode & ~rule.mode & (S_IWGRP | S_IWOTH);
    if (writable != 0) {
      problems.push_back(warning(rule.path, fmt::format("group or other writable: {}", rule.path)));
    }
    if ((rule.mode & S_ISGID) != 0 && (mode & S_ISGID) == 0) {
      problems.push_back(warning(rule.path, fmt::format("not set-gid: {}", rule.path)));
    }
  }
  return problems;
}

Problems make_directories(const Values& values) {
  Problems problems;
  for (const OwnerRule& rule : owner_rules(values)) {
    if (rule.is_directory) make_directory(rule, problems);
  }
  return problems;
}

Problems set_permissions(const Values& values) {
  Problems problems = make_directories(values);
  for (const OwnerRule& rule : owner_rules(values)) {
    const sys::Fd fd = open_object(rule);
    if (!fd) {
      if (errno != ENOENT) {
        problems.push_back(warning(rule.path, sys::errno_text(errno)));
      }
      continue;
    }
    struct stat status{};
    if (fstat(fd.get(), &status) != 0) continue;
    if (!rule.is_directory && !S_ISREG(status.st_mode)) {
      problems.push_back(warning(rule.path, "not a regular file"));
      continue;
    }
    apply(rule, fd.get(), problems);
  }
  return problems;
}

}  // namespace postern::control
