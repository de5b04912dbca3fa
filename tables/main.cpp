// tables - look-ups, address rewriting and resolution for processes that open no table themselves.

#include "common/daemon/daemon.h"
#include "tables/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "trivial-rewrite");
  tables::Service service(process, tables::Role::kTables);
  process.drop_rights(daemon::Groups::kNone);
  service.start();
  return process.serve();
}
