// manager.h - the queue manager: decides which recipient is delivered when and by whom, and is the
// only writer of queue files once they are committed.
//
//     intake.cpp    notices of new mail, scans, deferred mail that is due: into memory
//     offer.cpp     from destinations to the agents that have credits
//     outcome.cpp   what the agents report: state bytes, bounce logs, feedback
//     finish.cpp    a message whose deliveries have ended: removed, returned or deferred
//     leave.cpp     room for a successor
//
// Memory is a hint. Each delivery starts with opening the file; "not there" means that an operator
// has moved it, and that is the end of the message here.

#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/config/site_list.h"
#include "common/daemon/daemon.h"
#include "common/ipc/bounce.h"
#include "common/ipc/client.h"
#include "common/ipc/qmgr.h"
#include "common/ipc/server.h"
#include "common/ipc/tables.h"
#include "qmgr/leaps.h"
#include "qmgr/message.h"
#include "qmgr/message_table.h"
#include "qmgr/schedule.h"
#include "qmgr/transport.h"
#include "qmgr/watch.h"

namespace postern::qmgr {

struct Settings {
  std::chrono::seconds maximal_queue_lifetime{};
  std::chrono::seconds bounce_queue_lifetime{};
  std::chrono::seconds minimal_backoff_time{};
  std::chrono::seconds maximal_backoff_time{};
  std::chrono::seconds transport_retry_time{};
  std::chrono::seconds delay_warning_time{};
  bool confirm_delay_cleared = false;
  std::size_t message_active_limit = 20'000;
  std::size_t message_recipient_limit = 20'000;
  std::vector<std::string> defer_transports;
  std::vector<std::string> destination_queue_lifetime_maps;
  std::string default_filter_nexthop;
  config::SiteList fast_flush_domains;
  uid_t owner = 0;
};

class Manager {
 public:
  Manager(daemon::Process& process, queuefile::QueueDirs dirs);

  // Waits for `active/`'s lock before anything is touched; fatal when another qmgr has it for
  // longer than a restart takes.
  void start();

 private:
  // ---- intake.cpp
  void accept_notice(ipc::qmgr::NewMessage& notice);
  void flush(const ipc::qmgr::Flush& notice);
  [[nodiscard]] loop::Task<Result<ipc::qmgr::Watching>> watch(ipc::qmgr::Watch request,
                                                              ipc::ChannelPtr channel);
  loop::Task<void> scan_all(bool is_start);
  loop::Task<void> scan(queuefile::Queue queue, bool is_start);
  void note_found(const queuefile::QueueEntry& entry, queuefile::Queue queue, bool is_start);
  void take_due();
  void schedule_intake();
  loop::Task<void> load(std::string id, queuefile::Queue queue);
  [[nodiscard]] loop::Task<bool> read(std::string id, queuefile::Queue queue, Message& message);
  [[nodiscard]] loop::Task<Result<void>> resolve(Message& message);
  // Whose file it is, where it is not the mail system's.
  [[nodiscard]] std::optional<uid_t> foreign_owner(const std::string& path) const;
  void set_aside(const queuefile::QueueEntry& entry, std::string_view why);
  void drop_second(const queuefile::QueueEntry& entry, queuefile::Queue known);
  void drop_unfinished(const std::string& path, const struct stat& st) const;
  // Tells of it once.
  void leave_alone(std::string_view path, std::string_view why);
  // Into active/, into the destinations' queues.
  void activate(std::unique_ptr<Message> message);
  static void keep_one_recipient(Message& message);
  void send_to_filter(Message& message) const;
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool has_room_for_old_mail() const;

  // ---- offer.cpp
  [[nodiscard]] Transport& transport(const std::string& name);
  void assign(Message& message);
  void enqueue(Message& message, const std::string& transport_name, const std::string& nexthop,
               std::vector<std::uint32_t> recipients);
  void pump(Transport& transport);
  void pump_all();
  [[nodiscard]] Agent* agent_with_room(Transport& transport);
  void connect(Transport& transport);
  void watch_stuck(Transport& transport);
  void offer(Transport& transport, Agent& agent, Destination& destination);
  void agent_closed(Agent* agent);
  // Offers it again later: an agent of an earlier queue manager has the file.
  void hold(Transport& service, Destination& destination, Job job);
  void release_held();
  // Hands what waits for a destination to the `retry` service, which defers it with this reason.
  void suspend(Transport& transport, Destination& destination, const std::string& why);
  void suspend_transport(Transport& transport, const std::string& why);
  [[nodiscard]] Limits limits_of(const std::string& transport) const;

  // ---- outcome.cpp
  [[nodiscard]] loop::Task<Result<ipc::Done>> report(ipc::agent::Report report,
                                                     ipc::ChannelPtr channel);
  [[nodiscard]] bool is_about_its_own(const Agent* agent, const Message* message,
                                      ipc::agent::Report& report) const;
  [[nodiscard]] bool is_with_somebody(const std::string& id) const;
  void record_probe(Message& message, const ipc::agent::Report& report);
  [[nodiscard]] loop::Task<void> record(Message& message, const ipc::agent::Report& report);
  loop::Task<void> return_refused(Message* message);
  [[nodiscard]] loop::Task<void> trace(Message& message, const ipc::agent::Report& report);
  // Keeps what NOTIFY=SUCCESS asks about.
  [[nodiscard]] loop::Task<void> note_successes(Message& message, const ipc::agent::Report& report);
  // The fast flush service keeps who waits for the sites that it serves.
  void tell_flush(const Message& message, const std::vector<Recipient*>& waiting);
  // What cannot be written is kept in unmarked_.
  void write_states(const Message& message, const std::vector<std::uint64_t>& offsets,
                    queuefile::State state);
  // Whoever has his mail does not get it again because the disk took no mark of it.
  void mark_again(Message& message);
  void reroute(Agent& agent, const ipc::agent::Report& report);
  void land(Agent& agent, const ipc::agent::Report& report);
  void leftover(const ipc::agent::Report& report);

  // ---- finish.cpp
  void finish_if_done(Message& message);
  loop::Task<void> finish(Message* message);
  [[nodiscard]] loop::Task<bool> return_to_sender(Message& message, bool is_expired);
  // Message::expanded goes into the trace log.
  [[nodiscard]] loop::Task<void> note_expansions(Message& message);
  // kTrace or kSuccess: what the trace log holds.
  [[nodiscard]] loop::Task<void> send_trace(Message& message, ipc::bounce::Kind kind);
  // confirm_delay_cleared: a delay of the message may have been announced.
  [[nodiscard]] bool may_have_warned(const Message& message);
  // delay_warning_time: bounce tells the sender, once.
  [[nodiscard]] loop::Task<void> warn_of_delay(Message& message);
  [[nodiscard]] static ipc::bounce::Notify notice_of(const Message& message,
                                                     ipc::bounce::Kind kind);
  void defer(Message& message);
  void remove(Message& message);
  void forget(Message& message, ipc::qmgr::EventKind end);

  // ---- lifetime.cpp
  // Not what a clock that was set makes of it.
  [[nodiscard]] std::chrono::microseconds age_of(const Message& message);
  void look_at_clocks();
  [[nodiscard]] std::chrono::seconds usual_lifetime(const Message& message) const;
  // Nothing where destination_queue_lifetime_maps cannot be asked, or its answer is no time.
  [[nodiscard]] loop::Task<std::optional<std::chrono::seconds>> lifetime_for(
      std::string domain, std::chrono::seconds otherwise);
  // Those that are not done and have waited for too long.
  [[nodiscard]] loop::Task<std::vector<Recipient*>> find_expired(Message& message);
  // Makes failures of some of the recipients, while the others go on waiting.
  [[nodiscard]] loop::Task<void> return_expired(Message& message, std::vector<Recipient*> expired);

  // ---- leave.cpp
  void leave();
  void leave_when_quiet();

  [[nodiscard]] Message* find(const std::string& id);
  void configure();
  void take_over();

  daemon::Process& process_;
  queuefile::QueueDirs dirs_;
  sys::Fd active_lock_;
  int lock_tries_ = 0;
  bool is_in_charge_ = false;
  Settings settings_;
  ipc::Server server_;
  // What agents say: theirs are the only reports, and they say nothing else.
  ipc::Dispatcher of_agents_;
  ipc::Client tables_;
  ipc::Client bounce_;
  ipc::Client defer_;
  ipc::Client trace_;
  ipc::Client flush_;
  ipc::Client verify_;

  Schedule schedule_;
  Leaps leaps_;
  MessageTable active_;
  std::size_t active_recipients_ = 0;
  std::size_t loading_ = 0;
  std::unordered_set<std::string> loading_ids_;
  std::vector<Message*> loading_messages_;
  // By queue id: states of recipients that are not in the file.
  struct Unmarked {
    std::uint64_t offset = 0;
    queuefile::State state{};
  };
  std::unordered_map<std::string, std::vector<Unmarked>> unmarked_;
  std::unordered_set<std::string> reported_;  // files that are left alone
  bool is_scanning_ = false;
  bool rescan_wanted_ = false;
  Watchers watchers_;
  bool is_flushing_ = false;  // defer_transports and dead destinations are tried all the same
  std::unordered_map<std::string, std::unique_ptr<Transport>> transports_;
  std::vector<std::unique_ptr<Agent>> closed_agents_;  // until their last report was handled

  struct Held {
    Transport* transport;
    std::string nexthop;
    Job job;
  };
  std::vector<Held> held_;

  bool is_leaving_ = false;
  std::size_t under_way_ = 0;
  loop::TimePoint leave_at_{};
  loop::TimePoint quiet_since_{};

  loop::CallbackTimer due_timer_;
  loop::CallbackTimer pace_timer_;
  loop::CallbackTimer held_timer_;
  loop::CallbackTimer rescan_timer_;
  loop::CallbackTimer housekeeping_timer_;
  loop::CallbackTimer lock_timer_;
  loop::CallbackTimer leave_timer_;
};

// Microseconds since 1970.
[[nodiscard]] std::int64_t wall_clock_us();

}  // namespace postern::qmgr
