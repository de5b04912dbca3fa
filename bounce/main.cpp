// bounce - keeps the reasons of failure and delay, and tells senders; serves bounce, defer, trace.

#include "bounce/service.h"
#include "common/config/params/queue.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "bounce");
  process.drop_rights();

  const auto params = process.load<config::QueueParams>();
  auto dirs = queuefile::QueueDirs::open(
      ".", {params.hash_queue_names, static_cast<unsigned>(params.hash_queue_depth)});
  if (!dirs) log::fatal("{}", dirs.error().text);
  bounce::Service service(process, *std::move(dirs));
  service.start();
  return process.serve();
}
