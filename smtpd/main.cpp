// smtpd - the SMTP server: many sessions in one process, which opens no file, asks no name server
// and connects to nobody but its own neighbours.

#include "common/daemon/daemon.h"
#include "smtpd/server.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "smtpd");
  process.drop_rights();

  smtpd::Server server(process);
  server.start();
  return process.serve();
}
