// service.h - what every delivery agent does: takes deliveries from qmgr, reports on them.
//
// qmgr connects to private/NAME, one connection to a process; the agent says how many deliveries it
// takes at once (Credits), each of them runs as one coroutine of the daemon's. A report is kept
// until qmgr has answered it. When qmgr is restarted the unanswered ones are repeated first, and
// the descriptor with its lock is held as long, so that nobody delivers again meanwhile.
//
//     daemon::Process process(argc, argv, "discard");
//     process.drop_rights();
//     agent::AgentService service(process.take_listener(), process.values(), deliver);
//     service.attach(process);
//     return process.serve();

#pragma once

#include <functional>
#include <list>
#include <memory>

#include "common/agent/delivery.h"
#include "common/agent/status_filter.h"
#include "common/config/values.h"
#include "common/ipc/server.h"
#include "common/loop/worker_pool.h"

namespace postern::agent {

class AgentService {
 public:
  // Called for each delivery. Where it is a lambda, it is no coroutine itself but calls one: the
  // frame must not refer to the lambda's captures beyond its life.
  using Handler = std::function<loop::Task<void>(std::shared_ptr<Delivery>)>;

  AgentService(sys::Fd listener, const config::Values& values, Handler handler);
  AgentService(const AgentService&) = delete;
  AgentService& operator=(const AgentService&) = delete;

  // Starts serving, and ties share, load and drain to the daemon's process (a daemon::Process,
  // which stands above this library). Call it once; reloads are the daemon's: configure().
  template <typename Process>
  void attach(Process& process) {
    process.on_share([this](std::int64_t limit, bool) { set_limit(limit); });
    process.on_drain([this, &process] { drain([&process] { process.finish(); }); });
    program_ = process.program();
    // qmgr's deliveries: any other would be mail that nobody has queued.
    server_.only_for({.users = {process.mail_owner().uid}});
    configure(process.values());
    on_load_ = [&process](std::int64_t in_use, bool is_busy) {
      process.report_load(in_use, is_busy);
    };
    start();
  }

  // The parameters that all agents share, from a new configuration.
  void configure(const config::Values& values);
  // The handler finds out by itself whether a recipient would be taken (Deliver::is_probe). For
  // other agents what the tables said of the recipient is the answer.
  void handle_probes() { handles_probes_ = true; }
  // No delivery status filter changes what this agent says.
  void say_as_it_is() {
    is_filtered_ = false;
    filter_.switch_off();
  }

  void start();
  // At most this many deliveries at once; 0: no limit.
  void set_limit(std::int64_t limit);
  // Takes no new work; calls `done` when the last report is answered. A queue manager that was
  // replaced meanwhile is not the end: its successor connects and gets what is left.
  void drain(std::function<void()> done);

  [[nodiscard]] std::int64_t in_use() const { return in_use_; }
  // For what blocks: reading, mostly.
  [[nodiscard]] loop::WorkerPool& pool() { return pool_; }

 private:
  friend class Delivery;
  // A report that qmgr has not answered yet.
  struct Unanswered {
    ipc::agent::Report report;
    std::shared_ptr<Delivery> delivery;  // holds the file's lock
    bool is_sent = false;                // over the channel that stands now
  };

  void take(ipc::agent::Deliver& request, std::vector<sys::Fd> fds);
  using UnderWay = std::list<std::weak_ptr<Delivery>>;
  loop::Task<void> run(std::shared_ptr<Delivery> delivery, UnderWay::iterator place);
  void send(std::shared_ptr<Delivery> delivery, ipc::agent::Report report);
  loop::Task<void> deliver_report(std::list<Unanswered>::iterator entry, ipc::ChannelPtr channel);
  void connected(const ipc::ChannelPtr& channel);
  void closed();
  void send_credits();
  void tell_load();
  void give_up();
  void finish_drain();

  Handler handler_;
  loop::CallbackTimer successor_timer_{[this] { give_up(); }};
  bool has_given_up_ = false;
  bool soft_bounce_ = false;
  bool handles_probes_ = false;
  bool is_filtered_ = true;
  std::int64_t limit_ = 0;
  std::int64_t in_use_ = 0;
  bool is_draining_ = false;
  bool has_greeted_ = false;  // the qmgr that is connected has been told of our credits
  std::function<void()> on_drained_;
  std::function<void(std::int64_t, bool)> on_load_;
  loop::WorkerPool pool_;
  StatusFilter filter_;
  std::string program_;
  std::list<Unanswered> unanswered_;
  UnderWay under_way_;
  ipc::ChannelPtr qmgr_;
  ipc::Server server_;
};

}  // namespace postern::agent
