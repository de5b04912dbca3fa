// sts - MTA-STS policies of other domains: fetched over HTTPS, kept over restarts; and reports sent
// over HTTPS. The only process that speaks HTTP to strangers, and it does nothing else.

#include "common/daemon/daemon.h"
#include "sts/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "sts");
  // The authorities and the cache lie outside of a chroot.
  sts::Surroundings surroundings = sts::open_surroundings(process);
  process.drop_rights();
  sts::Service service(process, std::move(surroundings));
  service.start();
  return process.serve();
}
