// proxymap - look-ups in tables that ask data bases, with their credentials, and in those that
// other processes may not read themselves.
//
// The same service as `tables`, in a program of its own: only this one is linked with the data
// bases' libraries.

#include "common/daemon/daemon.h"
#include "common/table/database.h"
#include "tables/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "proxymap");
  table::register_database_types([&process] { return &process.values(); });
  tables::Service service(process, tables::Role::kProxymap);
  process.drop_rights(daemon::Groups::kSupplementary);
  service.start();
  return process.serve();
}
