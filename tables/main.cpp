// tables - look-ups, address rewriting and resolution for processes that open no table themselves.
//
// Called proxymap it is the second instance: it answers for tables that ask data bases, with their
// credentials, and for those that other processes may not read themselves.

#include "common/base/text.h"
#include "common/daemon/daemon.h"
#include "common/table/database.h"
#include "tables/service.h"

int main(int argc, char** argv) {
  using namespace postern;
  const std::string_view path = argc > 0 ? argv[0] : "";
  const bool is_proxymap = path.substr(path.rfind('/') + 1) == "proxymap";
  daemon::Process process(argc, argv, is_proxymap ? "proxymap" : "trivial-rewrite");
  if (is_proxymap) table::register_database_types([&process] { return &process.values(); });
  tables::Service service(process, is_proxymap ? tables::Role::kProxymap : tables::Role::kTables);
  process.drop_rights(is_proxymap ? daemon::Groups::kSupplementary : daemon::Groups::kNone);
  service.start();
  return process.serve();
}
