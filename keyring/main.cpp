// keyring - the private keys of TLS: signs for those who speak to strangers, and gives no key away.

#include "common/daemon/daemon.h"
#include "keyring/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "keyring");
  keyring::lock_memory();
  process.drop_rights();
  keyring::forbid_dumps();
  keyring::Service service(process);
  service.start();
  return process.serve();
}
