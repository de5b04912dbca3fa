// lmtp - delivers mail over LMTP, to a host or a UNIX socket.

#include "smtp/client.h"
#include "smtp/tls_files.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "lmtp");
  auto materials = smtp::read_tls_materials(process.values(), smtpclient::Protocol::kLmtp);
  process.drop_rights();
  smtp::Client client(process, smtpclient::Protocol::kLmtp, std::move(materials));
  return process.serve();
}
