// lister.h - writes the queue's listing to whoever connects; reads nothing from him.

#pragma once

#include "common/daemon/daemon.h"
#include "common/ipc/peers.h"
#include "common/loop/worker_pool.h"
#include "common/queuefile/queue_dir.h"

namespace postern::showq {

class Lister final : loop::Watched {
 public:
  Lister(daemon::Process& process, queuefile::QueueDirs dirs);
  ~Lister();
  void start();

 private:
  void on_events(std::uint32_t events) override;
  loop::Task<void> serve(sys::Fd client);

  daemon::Process& process_;
  queuefile::QueueDirs dirs_;
  sys::Fd listener_;
  ipc::Doorkeeper doorkeeper_;
  loop::WorkerPool pool_;
  unsigned clients_ = 0;
  bool watching_ = false;
};

}  // namespace postern::showq
