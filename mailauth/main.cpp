// mailauth - SPF, DKIM, DMARC and ARC: the verdicts on mail of strangers. It sees what they wrote,
// and has no file, no network and no key.

#include "common/daemon/daemon.h"
#include "mailauth/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "mailauth");
  // The list lies outside of a chroot.
  mailauth::PublicSuffixes suffixes = mailauthd::open_suffixes(process);
  process.drop_rights();
  mailauthd::Service service(process, std::move(suffixes));
  service.start();
  return process.serve();
}
