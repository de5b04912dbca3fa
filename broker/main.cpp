// broker - connects to the partners that the configuration names, and passes the descriptor on.
// It never reads from what it connects.

#include "broker/service.h"
#include "common/daemon/daemon.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "broker");
  // Sites give their sockets to a group that mail_owner is in.
  process.drop_rights(daemon::Groups::kSupplementary);
  broker::Service service(process);
  service.start();
  return process.serve();
}
