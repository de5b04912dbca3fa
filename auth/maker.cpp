#include "auth/maker.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "auth/worker.h"
#include "common/agent/packet.h"

namespace postern::auth {

namespace {

using agent::keep_only;
constexpr int kSocket = agent::kPacketSocket;  // the only descriptor beside 0 to 2

[[noreturn]] void become_worker(sys::Fd socket) {
  keep_only(std::move(socket));
  ::prctl(PR_SET_NAME, "auth-worker");
  ::signal(SIGCHLD, SIG_DFL);  // PAM modules wait for their helpers
  serve_auth_jobs(kSocket);
  ::_exit(0);
}

[[noreturn]] void serve_maker() {
  while (auto packet = agent::wait_packet(kSocket)) {
    if (packet->fds.size() != 1) continue;
    const pid_t pid = ::fork();
    if (pid == 0) become_worker(std::move(packet->fds.front()));
    // Where it failed, the front sees its end closed.
  }
  ::_exit(0);
}

}  // namespace

Result<sys::Fd> fork_maker(const sys::Account* account) {
  TRY(auto pair, agent::packet_pair());
  const pid_t pid = ::fork();
  if (pid < 0) return sys::fail_errno("fork");
  if (pid > 0) return std::move(pair.nonblocking);
  // Copies of the front's things are left as they are: destructors would speak for it.
  pair.nonblocking.reset();
  keep_only(std::move(pair.blocking));
  ::prctl(PR_SET_NAME, "auth-maker");
  ::signal(SIGCHLD, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(0077);
  if (account != nullptr) {
    if (sys::is_root() && !sys::become(*account, sys::Groups::kSupplementary)) ::_exit(1);
    if (!sys::refuse_new_privileges()) ::_exit(1);
  }
  serve_maker();
}

}  // namespace postern::auth
