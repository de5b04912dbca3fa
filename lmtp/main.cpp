// lmtp - delivers mail over LMTP, to a host or a UNIX socket.

#include "smtp/client.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "lmtp");
  process.drop_rights();
  smtp::Client client(process, smtpclient::Protocol::kLmtp);
  return process.serve();
}
