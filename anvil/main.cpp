// anvil - counts what the clients of the SMTP server do, over all its processes, and keeps what is
// known of them between two visits.

#include <fcntl.h>

#include "anvil/service.h"
#include "common/config/params/paths.h"
#include "common/daemon/daemon.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "anvil");
  const std::string directory = process.load<config::PathsParams>().data_directory;
  const sys::Fd data(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  process.drop_rights();

  anvil::Service service(process, data.get());
  service.start();
  return process.serve();
}
