// postern set-permissions: the accounts, and owners and modes of conf/owners.
//
// Run after an installation or when `check` complains. It makes the user of mail_owner, the group
// of setgid_group and the accounts of the daemons beside mail_owner (common/daemon/confinement.h)
// where they are missing, with the system's own commands.

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "common/config/load.h"
#include "common/config/values.h"
#include "common/daemon/confinement.h"
#include "postern/check.h"
#include "postern/owners.h"

namespace postern::control {

namespace {

using namespace config;

// Runs a command of the system with a fresh environment; whether it ended with 0.
bool run_command(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* environment[] = {path.data(), nullptr};
  pid_t child = 0;
  if (posix_spawn(&child, words[0].c_str(), nullptr, nullptr, argv.data(), environment) != 0) {
    return false;
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool make_group(const std::string& name) {
  if (getgrnam(name.c_str()) != nullptr) return true;
  return run_command({"/usr/sbin/groupadd", "--system", name});
}

// The lowest free number of those that Debian's adduser gives to system users.
std::string free_system_uid() {
  constexpr uid_t kFirst = 100;
  constexpr uid_t kLast = 999;
  uid_t uid = kFirst;
  while (uid < kLast && getpwuid(uid) != nullptr) ++uid;
  return std::to_string(uid);
}

bool make_user(const std::string& name, const std::string& group, const std::string& home) {
  if (getpwnam(name.c_str()) != nullptr) return true;
  return make_group(group) &&
         run_command({"/usr/sbin/useradd", "--system", "--uid", free_system_uid(), "--gid", group,
                      "--home-dir", home, "--no-create-home", "--shell", "/usr/sbin/nologin",
                      name});
}

// After mail_owner, who gets the number that he would get with Postfix. A machine where they cannot
// be made runs with one account.
void make_role_accounts(const Values& values) {
  if (values.text("process_confinement") == "none") return;
  for (const auto name : daemon::role_accounts()) {
    if (make_user(std::string(name), std::string(daemon::kRoleGroup), "/nonexistent")) continue;
    fmt::print(stderr, "postern: warning: cannot make the user {}\n", name);
    return;
  }
}

}  // namespace

int set_permissions_main(int argc, char** argv) {
  std::string option_directory;
  int letter = 0;
  while ((letter = getopt(argc, argv, "c:v")) != -1) {
    if (letter == 'c') option_directory = optarg;
    if (letter == '?') return 1;
  }
  if (geteuid() != 0) {
    fmt::print(stderr, "postern: fatal: set-permissions needs to be run by root\n");
    return 1;
  }
  const InstallPaths paths = find_install_paths();
  const auto directory = choose_config_directory(option_directory, paths);
  const auto loaded = directory ? load_configuration(directory->path, paths)
                                : Result<Loaded>(std::unexpected(directory.error()));
  if (!loaded) {
    fmt::print(stderr, "postern: fatal: {}\n", loaded.error().text);
    return 1;
  }
  const Values values(loaded->snapshot);
  const std::string user = values.text("mail_owner");
  const std::string group = values.text("setgid_group");
  if (!make_user(user, user, values.text("queue_directory"))) {
    fmt::print(stderr, "postern: fatal: cannot make the user {}\n", user);
    return 1;
  }
  if (!make_group(group)) {
    fmt::print(stderr, "postern: fatal: cannot make the group {}\n", group);
    return 1;
  }
  make_role_accounts(values);
  const Problems problems = set_permissions(values);
  for (const Problem& problem : problems) {
    fmt::print(stderr, "postern: warning: {}\n", log_text(problem));
  }
  return problems.empty() ? 0 : 1;
}

}  // namespace postern::control
