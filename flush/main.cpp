// flush - knows which deferred messages wait for which site, for ETRN, postqueue -s and
// sendmail -qR.

#include "common/daemon/daemon.h"
#include "flush/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "flush");
  process.drop_rights();

  flush::Service service(process);
  service.start();
  return process.serve();
}
