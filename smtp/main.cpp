// smtp - delivers mail over SMTP.

#include "smtp/client.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "smtp");
  process.drop_rights();
  smtp::Client client(process, smtpclient::Protocol::kSmtp);
  return process.serve();
}
