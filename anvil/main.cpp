// anvil - counts what the clients of the SMTP server do, over all its processes, and keeps what is
// known of them between two visits.

#include "anvil/directory.h"
#include "anvil/service.h"
#include "common/config/params/paths.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "anvil");
  const std::string directory = process.load<config::PathsParams>().data_directory;
  const auto files = anvil::open_directory(directory, process.account(), process.mail_owner());
  if (!files) log::warning("{}; what is known of clients is not kept", files.error().text);
  process.drop_rights();

  anvil::Service service(process, files ? files->get() : -1);
  service.start();
  return process.serve();
}
