// pickup - takes local submissions from maildrop/ to cleanup.

#include "common/daemon/daemon.h"
#include "pickup/collector.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "pickup");
  process.drop_rights();

  pickup::Collector collector(process);
  collector.start();
  return process.serve();
}
