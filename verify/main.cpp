// verify - remembers which addresses mail would be taken for, and sends probes to find out.

#include "common/daemon/daemon.h"
#include "verify/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "verify");
  // The cache may lie outside of the chroot.
  table::Kept store = verify::open_store(process);
  process.drop_rights();
  verify::Service service(process, std::move(store));
  service.start();
  return process.serve();
}
