#include "common/config/authorized_user.h"

#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "common/config/site_list.h"
#include "common/sys/fd.h"

namespace postern::config {

namespace {

// postmap(1) -q: 0 found, 1 not found.
Result<bool> ask_postmap(const Values& values, const std::string& table, const std::string& name) {
  const std::string path = values.text("command_directory") + "/postmap";
  const pid_t pid = ::fork();
  if (pid < 0) return sys::fail_errno("fork");
  if (pid == 0) {
    const bool is_plain = ::setresgid(::getgid(), ::getgid(), ::getgid()) == 0 &&
                          ::setresuid(::getuid(), ::getuid(), ::getuid()) == 0;
    const std::array<const char*, 5> arguments = {"postmap", "-q", name.c_str(), table.c_str(),
                                                  nullptr};
    const std::array<const char*, 1> environment = {nullptr};
    ::close(STDOUT_FILENO);
    if (is_plain) {
      ::execve(path.c_str(), const_cast<char* const*>(arguments.data()),
               const_cast<char* const*>(environment.data()));
    }
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return sys::fail_errno("wait for postmap");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) <= 1) return WEXITSTATUS(status) == 0;
  return fail_temporary("cannot look up " + name + " in " + table);
}

}  // namespace

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
      TRY(is_listed, ask_postmap(values, std::string(match.table), user.name));
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
