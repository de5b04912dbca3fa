// reports - what this system found out of others' TLS and DMARC, told to those who ask for it: TLS
// reports (RFC 8460) and DMARC aggregate reports (RFC 7489), once a day.

#include "common/daemon/daemon.h"
#include "reports/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "reports");
  // What is kept, and the list of public suffixes, lie outside of a chroot.
  reports::Surroundings surroundings = reports::open_surroundings(process);
  process.drop_rights();
  reports::Service service(process, std::move(surroundings));
  service.start();
  return process.serve();
}
