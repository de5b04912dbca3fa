// smtp - delivers mail over SMTP.

#include "smtp/client.h"
#include "smtp/tls_files.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "smtp");
  auto materials = smtp::read_tls_materials(process.values(), smtpclient::Protocol::kSmtp);
  process.drop_rights();
  smtp::Client client(process, smtpclient::Protocol::kSmtp, std::move(materials));
  return process.serve();
}
