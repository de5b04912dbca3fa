// auth - judges logins for smtpd: through libsasl2, PAM, and tables of passwords.
//
// Three kinds of process: the front, which has nobody's rights and talks to smtpd; the maker, which
// keeps the rights that the back end needs and forks workers; workers, which block.

#include <optional>

#include "auth/maker.h"
#include "auth/service.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "auth");
  const auto* const line = process.values().service();
  const bool keeps_root = line != nullptr && !line->is_unprivileged;
  process.forbid_system_changes();
  sys::Account owner = process.mail_owner();
  if (const auto found = sys::find_groups(owner); !found) log::fatal("{}", found.error().text);
  auto maker = auth::fork_maker(keeps_root ? nullptr : &owner);
  if (!maker) log::fatal("{}", maker.error().text);
  auth::SettingsFiles files;
  (void)files.read(process.values());
  process.drop_rights(daemon::Groups::kNone, daemon::Root::kNever);

  auth::Service service(process, *std::move(maker), std::move(files));
  service.start();
  return process.serve();
}
