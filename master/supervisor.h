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
  [[nodiscard]] Result<void> choose_network(std::string_view confinement);
  [[nodiscard]] Result<void> look_at_accounts(const config::Values& values,
                                              std::string_view confinement);
  void open_listeners(const ServiceTable& table, bool may_wait);
  [[nodiscard]] std::vector<ListenerPtr> listeners_of(const ServiceSpec& spec) const;
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
  // auto_rebuild_maps: postmap runs for tables whose source has changed.
  void remake_tables();
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
  sys::Fd empty_network_;
  bool was_probed_ = false;  // what the kernel has to confine daemons
  std::string withheld_;     // what it has not
  bool has_told_of_accounts_ = false;
  Surroundings surroundings_;
  std::chrono::seconds reload_drain_time_{300};
  std::chrono::seconds longest_back_off_{60};
  SlotPool slots_;
  tls::Stamps certificates_;                            // as they were when they were read
  std::map<pid_t, std::string> remaking_;               // the table that a postmap makes
  std::map<std::string, std::int64_t> remade_sources_;  // by table: the source's time when it was
  std::map<pid_t, std::unique_ptr<Child>> children_;
  std::unordered_map<const ipc::Channel*, Child*> child_by_channel_;
  std::map<std::string, ListenerPtr> listeners_;  // by Endpoint::name()
  std::vector<Endpoint> unopened_;
  unsigned open_tries_ = 0;
  std::map<std::string, std::unique_ptr<RunningService>> services_;  // by ServiceSpec::key()
  std::vector<std::string> order_;                                   // of the table
  Phase phase_ = Phase::kRunning;
  unsigned generation_ = 0;
  loop::CallbackTimer stop_timer_;
  loop::CallbackTimer house_timer_;
  loop::CallbackTimer listener_timer_;
};

}  // namespace postern::master
