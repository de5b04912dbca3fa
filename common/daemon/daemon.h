// daemon.h - what every daemon does: take the snapshot and the descriptors, drop rights, serve.
//
// master starts a daemon as
//
//     PROGRAM -n SERVICE -t TYPE [-c] [-u] [-v] [-s LISTENERS] [-z SLOT]
//
// in the queue directory, with these descriptors: 3 the control socket (ipc/control.h), 4 the
// configuration snapshot, 5 the log pipe, from 6 on the listeners. -c asks for a chroot to the
// queue directory, -u for the rights of an account of the mail system (confinement.h), as master.cf
// says.
//
//     int main(int argc, char** argv) {
//       daemon::Process process(argc, argv, "bounce");
//       process.drop_rights();
//       bounce::Service service(process);
//       return process.serve();
//     }

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"
#include "common/ipc/channel.h"
#include "common/ipc/server.h"
#include "common/loop/loop.h"
#include "common/sys/fd.h"
#include "common/sys/privilege.h"
#include "common/sys/sandbox.h"

namespace postern::ipc::keyring {
struct Keys;
}

namespace postern::daemon {

inline constexpr int kControlFd = 3;
inline constexpr int kSnapshotFd = 4;
inline constexpr int kLogFd = 5;
inline constexpr int kFirstListenerFd = 6;

// kSupplementary: all groups of mail_owner, for those who reach what sites have given to it.
enum class Groups : unsigned char { kNone, kSupplementary };
// kNever: not even where master.cf leaves root's rights, which are meant for others then.
enum class Root : unsigned char { kWhereAsked, kNever };

class Process final {
 public:
  // Ends the process with a log line when anything that master should have given is missing.
  Process(int argc, char** argv, std::string_view program);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Chroot, account, no_new_privs, as master.cf asks, and the confinement of this program
  // (confinement.h). Fatal when it fails. What must be opened with more rights or outside the
  // chroot is opened before; threads come after. `-u` absent: stays root.
  void drop_rights(Groups groups = Groups::kNone, Root root = Root::kWhereAsked);

  // For programs that run what others wrote, with rights that they need for it: neither this
  // process nor any that it makes can trace others, or change mounts, modules and the like
  // (sandbox.h). Before the rights are dropped, and before the first fork.
  void forbid_system_changes() const;

  [[nodiscard]] const config::Values& values() const { return *values_; }
  [[nodiscard]] const std::string& service() const { return service_; }
  [[nodiscard]] const std::string& type() const { return type_; }
  [[nodiscard]] const std::string& program() const { return program_; }
  [[nodiscard]] const sys::Account& mail_owner() const { return mail_owner_; }
  // Whose rights it has once it gives up root's; with exactly these groups.
  [[nodiscard]] const sys::Account& account() const { return account_; }
  // Who may speak to the service, as confinement.h declares it.
  [[nodiscard]] const ipc::Peers& clients() const { return clients_; }
  // Distinguishes all processes that run at the same time; 0 to 255.
  [[nodiscard]] unsigned slot() const { return slot_; }
  // The listeners, for the one who serves them.
  [[nodiscard]] std::vector<sys::Fd> take_listeners() { return std::move(listeners_); }
  [[nodiscard]] sys::Fd take_listener();
  [[nodiscard]] loop::Loop& loop() { return *loop_; }

  // The typed parameters of one area. Bad values have been logged and replaced by their defaults.
  template <typename Params>
  [[nodiscard]] Params load() const {
    config::Problems problems;
    Params params = config::load<Params>(*values_, problems);
    report(problems);
    return params;
  }

  // What happens when master hands over a new snapshot: values() is the new one already.
  void on_reload(std::function<void()> call) { on_reload_ = std::move(call); }
  // Accept nothing more; call finish() when the last session has ended. Without a handler the
  // process ends at once.
  void on_drain(std::function<void()> call) { on_drain_ = std::move(call); }
  // The mail system stops while the process drains: patience() is over.
  void on_hurry(std::function<void()> call) { on_hurry_ = std::move(call); }
  void on_wakeup(std::function<void(bool is_flush)> call) { on_wakeup_ = std::move(call); }
  void on_share(std::function<void(std::int64_t limit, bool is_stress)> call) {
    on_share_ = std::move(call);
  }

  // Of keyring alone: private keys from master. Called for those that came before it was set, too.
  void on_keys(std::function<void(ipc::keyring::Keys& keys)> call);

  // Tells master how many are served and whether another process of the service would help.
  void report_load(std::int64_t in_use, bool is_busy);

  // Turns the loop until finish(), or until master's deadline for draining has passed.
  int serve();
  void finish() { loop_->stop(); }
  [[nodiscard]] bool is_draining() const { return draining_; }
  // How long clients of a draining process may go on and begin something new: zero where the mail
  // system stops, or master has died.
  [[nodiscard]] std::chrono::seconds patience() const { return patience_; }

 private:
  void parse_arguments(int argc, char** argv);
  [[nodiscard]] Result<void> read_snapshot(int fd);
  void open_log();
  [[nodiscard]] std::optional<sys::Sandbox> prepare_sandbox() const;
  void connect_control();
  void reload(std::vector<sys::Fd> fds);
  void drain(std::chrono::seconds limit);
  static void report(const config::Problems& problems);

  std::string program_;
  std::string daemon_;  // as master names it
  std::string service_ = "unknown";
  std::string type_ = "unix";
  bool wants_chroot_ = false;
  bool wants_owner_ = false;
  unsigned verbosity_ = 0;
  unsigned slot_ = 0;
  unsigned listener_count_ = 0;
  std::unique_ptr<config::Values> values_;
  sys::Account mail_owner_;
  sys::Account account_;
  ipc::Peers clients_;
  std::vector<sys::Fd> listeners_;
  std::optional<loop::Loop> loop_;  // made when strangers' descriptors are closed
  ipc::Dispatcher control_dispatcher_;
  ipc::ChannelPtr control_;
  void tell_load();

  std::int64_t in_use_ = 0;
  bool is_busy_ = false;
  std::int64_t told_in_use_ = 0;
  bool told_busy_ = false;
  bool draining_ = false;
  std::chrono::seconds patience_{0};
  loop::CallbackTimer drain_timer_;
  loop::CallbackTimer load_timer_;
  std::function<void()> on_reload_;
  std::function<void()> on_drain_;
  std::function<void()> on_hurry_;
  std::function<void(bool)> on_wakeup_;
  std::function<void(std::int64_t, bool)> on_share_;
  std::function<void(ipc::keyring::Keys&)> on_keys_;
  std::shared_ptr<ipc::keyring::Keys> early_keys_;

  class LogFlush;
  std::unique_ptr<LogFlush> log_flush_;
};

}  // namespace postern::daemon
