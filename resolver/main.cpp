// resolver - every DNS query and hosts look-up of the suite, with one cache.

#include "common/daemon/daemon.h"
#include "resolver/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "resolver");
  process.drop_rights();
  resolver::Service service(process.take_listener(), process.clients());
  process.on_drain([&] {
    service.stop();
    process.finish();
  });
  service.start();
  return process.serve();
}
