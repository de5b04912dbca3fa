// service.h - the questions of ipc/tables.h, answered.

#pragma once

#include <memory>

#include "common/daemon/daemon.h"
#include "common/ipc/server.h"
#include "tables/registry.h"
#include "tables/resolve.h"

namespace postern::tables {

class Service {
 public:
  // Opens the tables: call it before rights are dropped.
  explicit Service(daemon::Process& process);
  void start();

 private:
  [[nodiscard]] Result<ipc::tables::Found> lookup(const ipc::tables::Lookup& question);
  void configure();

  daemon::Process& process_;
  Registry registry_;
  std::unique_ptr<Resolver> resolver_;
  ipc::Server server_;
};

}  // namespace postern::tables
