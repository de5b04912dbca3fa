// supervisor.h - the life of the mail system: start, reload, stop, and who runs meanwhile.
//
// Nothing here waits for a child: what a child must do has a deadline after which it is ended, and
// what it says is bounded. The files are read once at start and once at each reload; a
// configuration that `postern check` refuses leaves the running one as it is.
//
//     stop: 1. no new mail, deliveries come to their end   (smtpd, pickup, delivery agents)
//           2. those whom the first ones needed            (qmgr, cleanup, tables, ...)
//           3. the log writer

#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/config/load.h"
#include "common/ipc/channel.h"
#include "common/sys/privilege.h"
#include "common/sys/signal.h"
#include "common/tls/key_files.h"
#include "master/child.h"
#include "master/listener_set.h"
#include "master/means.h"
#include "master/rebuilds.h"
#include "master/running_service.h"

namespace postern::master {

class Supervisor final : Host, loop::Watched {
 public:
  struct Setup {
    std::string config_directory;
    config::InstallPaths paths;
    bool is_foreground = false;
    sys::Fd log_read, log_write;
    sys::Fd generation;  // data_directory/master.lock: how many reloads there were, for `postern`
  };

  Supervisor(Setup setup, sys::SignalFd signals);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Opens the listeners and starts what is to run at once. Fails when no service would be left;
  // then end_at_once() lets the log writer finish.
  [[nodiscard]] Result<void> start(config::Loaded loaded);
  void end_at_once();

  // Until the end of the mail system; the status to exit with.
  int run();

 private:
  // Host
  Child* start(RunningService& service) override;
  [[nodiscard]] std::chrono::seconds longest_back_off() const override;
  [[nodiscard]] bool is_stopping() const override { return phase_ != Phase::kRunning; }

  enum class Phase : unsigned char { kRunning, kIntake, kQueue, kLog, kGone };

  void on_events(std::uint32_t events) override;
  [[nodiscard]] Result<void> adopt(std::shared_ptr<config::Snapshot> snapshot);
  void apply(ServiceTable table);
  void log_table(const ServiceTable& table) const;
  void open_listeners(const ServiceTable& table, ListenerSet::Patience patience);
  void retry_listeners();
  void put(std::unique_ptr<RunningService> service);
  void retire(std::unique_ptr<RunningService> service);
  void reload();
  void tell_generation(bool is_accepted);
  void begin_stop();
  void advance_stop();
  void enter(Phase phase);
  void kill_all(int signal);
  void reap();
  void end_of(pid_t pid, int status);
  void keep_house();
  // Certificates become part of the snapshot, their keys go to keyring.
  void read_certificates(config::Snapshot& snapshot);
  [[nodiscard]] bool have_certificates_changed() const;
  void renew_certificates();
  void give_keys(Child& keyring);
  void give_snapshot(Child& child);
  [[nodiscard]] Host& as_host() { return *this; }
  [[nodiscard]] Child* child_of(const ipc::ChannelPtr& channel);

  Setup setup_;
  sys::SignalFd signals_;
  ipc::Dispatcher dispatcher_;
  std::shared_ptr<config::Snapshot> snapshot_;
  sys::Account owner_;
  sys::Fd snapshot_fd_;
  Means means_;
  Surroundings surroundings_;
  std::chrono::seconds reload_drain_time_{300};
  std::chrono::seconds longest_back_off_{60};
  SlotPool slots_;
  tls::Stamps certificates_;  // as they were when they were read
  Rebuilds rebuilds_;
  std::map<pid_t, std::unique_ptr<Child>> children_;
  std::unordered_map<const ipc::Channel*, Child*> child_by_channel_;
  ListenerSet listeners_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;  // by ServiceSpec::key()
  Phase phase_ = Phase::kRunning;
  unsigned generation_ = 0;
  loop::CallbackTimer stop_timer_;
  loop::CallbackTimer house_timer_;
  loop::CallbackTimer listener_timer_;
};

}  // namespace postern::master
