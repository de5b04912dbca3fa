// qmgr - decides which recipient is delivered when and by whom.

#include "common/config/params/queue.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "qmgr/manager.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "qmgr");
  process.drop_rights();

  const auto params = process.load<config::QueueParams>();
  auto dirs = queuefile::QueueDirs::open(
      ".", {params.hash_queue_names, static_cast<unsigned>(params.hash_queue_depth)});
  if (!dirs) log::fatal("{}", dirs.error().text);
  qmgr::Manager manager(process, *std::move(dirs));
  manager.start();
  return process.serve();
}
