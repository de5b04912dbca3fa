// showq - lists the queue for postqueue and for exporters.

#include "common/config/params/queue.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "showq/lister.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "showq");
  process.drop_rights();

  const auto params = process.load<config::QueueParams>();
  auto dirs = queuefile::QueueDirs::open(
      ".", {params.hash_queue_names, static_cast<unsigned>(params.hash_queue_depth)});
  if (!dirs) log::fatal("{}", dirs.error().text);
  showq::Lister lister(process, *std::move(dirs));
  lister.start();
  return process.serve();
}
