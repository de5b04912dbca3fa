// auth - judges logins for smtpd: through libsasl2, PAM, and tables of passwords.
//
// Three kinds of process: the front, which has nobody's rights and talks to smtpd; the maker, which
// keeps the rights that the back end needs and forks workers; workers, which block.

#include <optional>

#include "auth/maker.h"
#include "auth/service.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "common/sys/privilege.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "auth");
  const auto* const line = process.values().service();
  const bool keeps_root = line != nullptr && !line->is_unprivileged;
  auto maker = auth::fork_maker(keeps_root ? nullptr : &process.mail_owner());
  if (!maker) log::fatal("{}", maker.error().text);
  auth::SettingsFiles files;
  (void)files.read(process.values());
  process.drop_rights();
  if (sys::is_root()) {
    const auto done = sys::become(process.mail_owner(), sys::Groups::kNone);
    if (!done) log::fatal("become {}: {}", process.mail_owner().name, done.error().text);
  }

  auth::Service service(process, *std::move(maker), std::move(files));
  service.start();
  return process.serve();
}
