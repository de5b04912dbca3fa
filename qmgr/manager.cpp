#include "qmgr/manager.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "common/config/params/process.h"
#include "common/config/params/queue.h"
#include "common/config/params/scheduling.h"
#include "common/log/log.h"

namespace postern::qmgr {

namespace {

// A predecessor that leaves lets go within seconds (leave.cpp); one that does not is to be looked
// at by master, who starts us again.
constexpr int kLockTries = 500;
constexpr std::chrono::milliseconds kLockPause{20};

constexpr std::chrono::seconds kHousekeeping{60};
constexpr std::size_t kManyDestinations = 1000;
// Longer than a file in incoming/ waits for its notice.
constexpr std::chrono::seconds kRescanDelay{3};

double number_of(const std::string& text, double otherwise) {
  double value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

sys::Fd open_active(const queuefile::QueueDirs& dirs) {
  sys::Fd fd(::openat(dirs.root(), "active", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) log::fatal("open active: {}", sys::errno_text(errno));
  return fd;
}

}  // namespace

std::int64_t wall_clock_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Manager::Manager(daemon::Process& process, queuefile::QueueDirs dirs)
    : process_(process),
      dirs_(std::move(dirs)),
      active_lock_(open_active(dirs_)),
      server_(process.take_listener()),
      tables_("private/rewrite"),
      bounce_("private/" + process.values().text("bounce_service_name")),
      defer_("private/" + process.values().text("defer_service_name")),
      trace_("private/" + process.values().text("trace_service_name")),
      flush_("public/" + process.values().text("flush_service_name")),
      verify_("private/" + process.values().text("address_verify_service_name")),
      due_timer_([this] { take_due(); }),
      pace_timer_([this] { pump_all(); }),
      held_timer_([this] { release_held(); }),
      rescan_timer_([this] { loop::spawn(scan(queuefile::Queue::kIncoming, false)); }),
      housekeeping_timer_([this] {
        const auto now = loop::Clock::now();
        for (auto& [name, service] : transports_) {
          if (service->destinations() > kManyDestinations) service->forget_idle(now);
        }
        look_at_clocks();
        housekeeping_timer_.arm(now + kHousekeeping);
      }),
      lock_timer_([this] { take_over(); }),
      leave_timer_([this] { leave_when_quiet(); }) {
  look_at_clocks();
  configure();
}

void Manager::configure() {
  const auto queue = process_.load<config::QueueParams>();
  const auto scheduling = process_.load<config::SchedulingParams>();
  settings_.maximal_queue_lifetime = queue.maximal_queue_lifetime;
  settings_.bounce_queue_lifetime = queue.bounce_queue_lifetime;
  if (settings_.bounce_queue_lifetime > settings_.maximal_queue_lifetime) {
    log::warning(
        "bounce_queue_lifetime is larger than maximal_queue_lifetime - adjusting "
        "bounce_queue_lifetime");
    settings_.bounce_queue_lifetime = settings_.maximal_queue_lifetime;
  }
  settings_.minimal_backoff_time = queue.minimal_backoff_time;
  settings_.maximal_backoff_time = queue.maximal_backoff_time;
  settings_.transport_retry_time = scheduling.transport_retry_time;
  settings_.message_active_limit = static_cast<std::size_t>(queue.qmgr_message_active_limit);
  settings_.message_recipient_limit = static_cast<std::size_t>(queue.qmgr_message_recipient_limit);
  settings_.defer_transports = queue.defer_transports;
  settings_.destination_queue_lifetime_maps = scheduling.destination_queue_lifetime_maps;
  settings_.default_filter_nexthop = process_.values().text("default_filter_nexthop");
  settings_.confirm_delay_cleared = process_.values().flag("confirm_delay_cleared");
  settings_.delay_warning_time = process_.values().duration("delay_warning_time");
  const auto parents = process_.values().list("parent_domain_matches_subdomains");
  settings_.fast_flush_domains = config::SiteList(
      queue.fast_flush_domains,
      std::find(parents.begin(), parents.end(), "fast_flush_domains") != parents.end(),
      process_.values());
  settings_.owner = process_.mail_owner().uid;
  for (auto& [name, service] : transports_) service->set_limits(limits_of(name));
}

Limits Manager::limits_of(const std::string& transport) const {
  const auto text = [&](std::string_view suffix) {
    return config::transport_param(process_.values(), transport, suffix);
  };
  Limits limits;
  limits.initial_concurrency = number_of(text("_initial_destination_concurrency"), 5);
  limits.concurrency = number_of(text("_destination_concurrency_limit"), 20);
  limits.recipients = static_cast<std::size_t>(number_of(text("_destination_recipient_limit"), 50));
  limits.failed_cohorts = number_of(text("_destination_concurrency_failed_cohort_limit"), 1);
  limits.negative_feedback = parse_feedback(text("_destination_concurrency_negative_feedback"));
  limits.positive_feedback = parse_feedback(text("_destination_concurrency_positive_feedback"));
  limits.rate_delay =
      config::transport_duration(process_.values(), transport, "_destination_rate_delay");
  limits.dead_time = settings_.minimal_backoff_time;
  return limits;
}

Message* Manager::find(const std::string& id) { return active_.find(id); }

void Manager::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.notice<ipc::qmgr::NewMessage>(
      [this](ipc::qmgr::NewMessage& notice, const ipc::ChannelPtr&) { accept_notice(notice); });
  dispatcher.notice<ipc::qmgr::Flush>(
      [this](ipc::qmgr::Flush& notice, const ipc::ChannelPtr&) { flush(notice); });
  dispatcher.notice<ipc::qmgr::Rescan>(
      [this](ipc::qmgr::Rescan&, const ipc::ChannelPtr&) { loop::spawn(scan_all(false)); });
  dispatcher.serve<ipc::qmgr::Watch>([this](ipc::qmgr::Watch request, ipc::ChannelPtr channel) {
    return watch(request, std::move(channel));
  });
  dispatcher.answer<ipc::qmgr::AskIntake>(
      [this](ipc::qmgr::AskIntake&, const ipc::ChannelPtr&) -> Result<ipc::qmgr::IntakeState> {
        // With a full memory mail waits in incoming/, which grows as long as more is let in.
        return ipc::qmgr::IntakeState{!has_room()};
      });
  of_agents_.notice<ipc::agent::Credits>(
      [this](ipc::agent::Credits& notice, const ipc::ChannelPtr& channel) {
        auto* agent = static_cast<Agent*>(channel->context.get());
        if (agent == nullptr) return;
        agent->credits = notice.deliveries;
        agent->transport->stuck_since = loop::kNever;
        pump(*agent->transport);
      });
  of_agents_.serve<ipc::agent::Report>([this](ipc::agent::Report request, ipc::ChannelPtr channel) {
    return report(std::move(request), std::move(channel));
  });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] {
    // Replaced before it had begun.
    if (!is_in_charge_) return process_.finish();
    leave();
  });
  process_.on_wakeup([this](bool is_flush) {
    if (!is_in_charge_) return;
    if (is_flush) {
      flush({});
    } else {
      loop::spawn(scan_all(false));
    }
  });
  // A cleanup that dies may have committed a message that it could not tell of.
  server_.on_closed([this](const ipc::ChannelPtr& channel) {
    watchers_.remove(channel);
    if (!rescan_timer_.is_armed()) rescan_timer_.arm(loop::Clock::now() + kRescanDelay);
  });
  take_over();
}

void Manager::take_over() {
  if (::flock(active_lock_.get(), LOCK_EX | LOCK_NB) < 0) {
    if (++lock_tries_ > kLockTries) log::fatal("another queue manager holds the lock on active/");
    return lock_timer_.arm(loop::Clock::now() + kLockPause);
  }
  is_in_charge_ = true;
  server_.only_for(process_.clients());
  server_.start();
  housekeeping_timer_.arm(loop::Clock::now() + kHousekeeping);
  loop::spawn(scan_all(true));
}

}  // namespace postern::qmgr
