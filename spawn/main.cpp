// spawn - runs a command for each connection, with the connection as its standard input, output and
// error, as a user of its own. It stays root for that, and reads nothing from anybody.

#include "common/daemon/daemon.h"
#include "spawn/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "spawn");
  process.forbid_system_changes();
  process.drop_rights();
  spawn::Service service(process);
  service.start();
  return process.serve();
}
