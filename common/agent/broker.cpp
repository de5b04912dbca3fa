#include "common/agent/broker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "common/agent/deliverer.h"
#include "common/agent/packet.h"

namespace postern::agent {

namespace {

constexpr int kSocket = kPacketSocket;  // the only descriptor beside 0 to 2
constexpr std::size_t kMaxUser = 256;
constexpr std::size_t kPasswdBuffer = std::size_t{64} << 10;

[[noreturn]] void become_deliverer(const sys::Account& account, const BrokerPolicy& policy,
                                   sys::Fd socket) {
  keep_only(std::move(socket));
  ::prctl(PR_SET_NAME, "deliverer");
  // Where we are not root (tests), only ourselves can be asked for: check_request saw to that.
  if (sys::is_root() && !sys::become(account, sys::Groups::kSupplementary)) ::_exit(1);
  if (!policy.runs_commands && !sys::refuse_new_privileges()) ::_exit(1);
  // Commands are waited for; one that does not read is no reason to die.
  ::signal(SIGCHLD, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  if (::chdir("/") < 0) ::_exit(1);
  serve_jobs(kSocket);
  ::_exit(0);
}

Result<sys::Fd> spawn(const sys::Account& account, const BrokerPolicy& policy) {
  TRY(auto pair, packet_pair());
  const pid_t pid = ::fork();
  if (pid < 0) return sys::fail_errno("fork");
  if (pid == 0) {
    pair.nonblocking.reset();
    become_deliverer(account, policy, std::move(pair.blocking));
  }
  return std::move(pair.nonblocking);
}

// An empty mailbox in a directory where only root (or a group) makes files.
Result<void> make_mailbox(const sys::Account& account, std::string_view user,
                          const BrokerPolicy& policy) {
  if (policy.mail_spool_directory.empty()) return fail_temporary("no mail_spool_directory");
  if (user.empty() || user.front() == '.' || user.find('/') != std::string_view::npos) {
    return fail_temporary("bad user name");
  }
  const sys::Fd directory(
      ::open(policy.mail_spool_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return sys::fail_errno(fmt::format("open {}", policy.mail_spool_directory));
  const std::string name(user);
  const sys::Fd file(::openat(directory.get(), name.c_str(),
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) {
    if (errno == EEXIST) return {};
    return sys::fail_errno(fmt::format("create {}/{}", policy.mail_spool_directory, user));
  }
  if (sys::is_root() && ::fchown(file.get(), account.uid, account.gid) < 0) {
    const int error = errno;
    ::unlinkat(directory.get(), name.c_str(), 0);
    return sys::fail_errno("chown mailbox", error);
  }
  return {};
}

struct Opened {
  std::string error;
  sys::Fd fd;
};

// What comes back with the reply.
Opened act_on(const BrokerRequest& request, const BrokerPolicy& policy) {
  const auto given = [](Result<sys::Fd> fd) -> Opened {
    if (!fd) return {fd.error().text, {}};
    return {{}, *std::move(fd)};
  };
  const auto account = check_request(request, policy);
  if (!account) return {account.error().text, {}};
  switch (request.action) {
    case BrokerAction::kSpawn:
      return given(spawn(*account, policy));
    case BrokerAction::kMakeMailbox: {
      const auto made = make_mailbox(*account, request.user, policy);
      return {made ? std::string() : made.error().text, {}};
    }
    case BrokerAction::kOpenRootForward:
      if (!policy.must_be_user) break;
      return given(open_root_forward(request.user, request.file));
  }
  return {"no such action", {}};
}

[[noreturn]] void serve_broker(const BrokerPolicy& policy) {
  while (const auto packet = wait_packet(kSocket)) {
    const auto request = ipc::decode<BrokerRequest>(packet->bytes);
    if (!request) break;
    const Opened opened = act_on(*request, policy);
    BrokerReply reply;
    reply.error = opened.error;
    reply.is_done = reply.error.empty();
    if (!send_packet(kSocket, ipc::encode(reply), opened.fd.get())) break;
  }
  ::_exit(0);
}

bool is_known_uid(uid_t uid) {
  std::string buffer(kPasswdBuffer, '\0');
  passwd entry{};
  passwd* found = nullptr;
  return ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr;
}

// Whoever may write to the spool by its group alone needs that group for the dot lock.
void add_spool_group(sys::Account& account, const BrokerPolicy& policy) {
  struct stat status{};
  if (policy.mail_spool_directory.empty()) return;
  if (::stat(policy.mail_spool_directory.c_str(), &status) < 0) return;
  if ((status.st_mode & S_IWGRP) == 0 || status.st_gid == 0) return;
  account.groups.push_back(status.st_gid);
}

}  // namespace

Result<sys::Account> check_request(const BrokerRequest& request, const BrokerPolicy& policy) {
  sys::Account account;
  if (!std::in_range<uid_t>(request.uid) || !std::in_range<gid_t>(request.gid)) {
    return fail_temporary("bad uid or gid");
  }
  account.uid = static_cast<uid_t>(request.uid);
  account.gid = static_cast<gid_t>(request.gid);
  account.groups = {account.gid};
  if (!request.user.empty()) {
    if (request.user.size() > kMaxUser) return fail_temporary("bad user name");
    TRY(account, sys::find_account(request.user));
    if (account.uid == 0) account = policy.fallback;
    DO(sys::find_groups(account));
    if (account.uid != static_cast<uid_t>(request.uid) && request.uid != 0) {
      return fail_temporary(fmt::format("user {} has another uid", request.user));
    }
    add_spool_group(account, policy);
  } else if (policy.must_be_user) {
    if (account.uid == 0) account = policy.fallback;
    if (!is_known_uid(account.uid)) return fail_temporary("no such uid in passwd");
  }
  if (account.uid == 0 || account.gid == 0) return fail_temporary("root's rights are not given");
  if (account.uid < policy.minimum_uid) {
    return fail_temporary(fmt::format("uid {} is below {}", account.uid, policy.minimum_uid));
  }
  if (std::ranges::find(policy.forbidden_uids, account.uid) != policy.forbidden_uids.end()) {
    return fail_temporary(fmt::format("uid {} is the mail system's own", account.uid));
  }
  if (!sys::is_root() && account.uid != ::geteuid()) {
    return fail_temporary("the service is not run by root, as its line in master.cf must say");
  }
  return account;
}

Result<sys::Fd> open_root_forward(const std::string& user, const std::string& name) {
  if (!name.starts_with(".forward") || name.find('/') != std::string::npos) {
    return fail_temporary("no .forward file");
  }
  TRY(const auto account, sys::find_account(user));
  if (account.uid != 0) return fail_temporary(fmt::format("{} is not root", user));
  const sys::Fd home(::open(account.home.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!home) return sys::fail_errno(fmt::format("open {}", account.home));
  sys::Fd file(::openat(home.get(), name.c_str(),
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file && errno == ENOENT) return sys::Fd();
  if (!file) return sys::fail_errno(fmt::format("open {}/{}", account.home, name));
  struct stat status{};
  if (::fstat(file.get(), &status) < 0) return sys::fail_errno("fstat");
  if (!S_ISREG(status.st_mode) || status.st_uid != 0 || (status.st_mode & S_IWOTH) != 0) {
    return fail_temporary("it must be a file of root's that not everybody may write");
  }
  return file;
}

Result<sys::Fd> fork_broker(const BrokerPolicy& policy) {
  TRY(auto pair, packet_pair());
  const pid_t pid = ::fork();
  if (pid < 0) return sys::fail_errno("fork");
  if (pid > 0) return std::move(pair.nonblocking);
  // Copies of main's things are left as they are: destructors would speak for main.
  pair.nonblocking.reset();
  keep_only(std::move(pair.blocking));
  ::prctl(PR_SET_NAME, "broker");
  ::signal(SIGCHLD, SIG_IGN);  // nobody waits for deliverers
  ::umask(0077);
  serve_broker(policy);
}

Result<sys::Fd> split_rights(const BrokerPolicy& policy, const sys::Account& account,
                             Chroot chroot) {
  TRY(sys::Fd broker, fork_broker(policy));
  if (sys::is_root()) {
    if (chroot == Chroot::kHere) DO(sys::change_root("."));
    DO(sys::become(account, sys::Groups::kSupplementary));
  }
  return broker;
}

}  // namespace postern::agent
