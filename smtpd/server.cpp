#include "smtpd/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/config/params/process.h"
#include "common/log/log.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// A flood of connections is taken in slices: those inside have their turn in between.
constexpr int kAcceptsPerTurn = 64;

// Another process helps when this one has no time left, or no room.
constexpr unsigned kBusyPercent = 85;

// Where all places are taken, so long a stranger may owe a command and keep his: longer than the
// round trip of a client that is far away.
constexpr auto kIdlePatience = std::chrono::milliseconds(500);
constexpr auto kTransactionPatience = std::chrono::seconds(3);
constexpr std::size_t kRoomPerTurn = 64;
constexpr auto kRoomPause = std::chrono::milliseconds(20);

// Until the next attempt, where connections cannot be taken for want of descriptors or memory.
constexpr auto kAcceptPause = std::chrono::seconds(1);

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

Server::Server(daemon::Process& process)
    : process_(process),
      listeners_(process.take_listeners()),
      neighbours_{
          .tables = ipc::TablesClient(),
          .cleanup = ipc::CleanupClient("public/" + process.values().text("cleanup_service_name")),
          .resolver = ipc::Client("private/resolver"),
          .flush = ipc::Client("public/" + process.values().text("flush_service_name")),
          .verify = ipc::Client("private/" + process.values().text("address_verify_service_name")),
          .ids = queuefile::QueueIdSource(process.slot())},
      limits_(process.service(), process.load<config::ProcessParams>().service_workers) {
  is_explaining_ = process.service() == kExplainService;
  raise_descriptor_limit();
  reload();
}

Server::~Server() { unwatch(); }

void Server::start() {
  process_.on_reload([this] { reload(); });
  process_.on_drain([this] { drain(); });
  process_.on_hurry([this] { say_farewell(); });
  process_.on_share([this](std::int64_t limit, bool is_stress) {
    limit_ = limit;
    is_stress_ = is_stress;
    if (first_contact_) first_contact_->set_stress(is_stress);
    watch();
  });
  if (first_contact_) first_contact_->start();
  limits_.connect();
  watch();
}

config::Values Server::session_values() const {
  if (!first_contact_) return process_.values();
  const auto& snapshot = process_.values().snapshot();
  if (const auto* service = find_pass_service(snapshot)) {
    return process_.values().of_service(*service);
  }
  log::warning(
      "master.cf has a postscreen service but no \"smtpd pass ... smtpd\" line; sessions have "
      "the values of the postscreen line");
  return process_.values();
}

void Server::reload() {
  config::Problems problems;
  config::Problems same_again;
  const auto* service = process_.values().service();
  if (service != nullptr && service->program == "postscreen") {
    if (!first_contact_) {
      first_contact_ = std::make_unique<FirstContact>(neighbours_, limits_.anvil(), tls_);
    }
    first_contact_->configure(read_contact_settings(process_.values(), problems),
                              read_contact_settings(process_.values().under_stress(), same_again));
  }
  const config::Values values = session_values();
  settings_ = read_settings(values, problems);
  stress_settings_ = read_settings(values.under_stress(), same_again);
  tls_.configure(values, settings_->tls);
  sessions_per_process_ = process_.load<config::ProcessParams>().sessions_per_process;
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
  if (settings_->has_no_relay_guard) {
    log::error(
        "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at "
        "least one working instance of: reject_unauth_destination, "
        "defer_unauth_destination, reject, defer; no client is served until then");
    unwatch();
  } else {
    watch();
  }
}

const SettingsPtr& Server::settings_now() const {
  return is_stress_ ? stress_settings_ : settings_;
}

void Server::watch() {
  if (watching_ || process_.is_draining()) return;
  // Whoever connects waits until the configuration is mended: better than an open relay.
  if (settings_->has_no_relay_guard) return;
  // Level-triggered: at the limit the listener is left alone, and told of again afterwards.
  for (const auto& listener : listeners_) {
    loop::Loop::current().watch_level(listener.get(), *this);
  }
  watching_ = true;
}

void Server::unwatch() {
  if (!watching_) return;
  for (const auto& listener : listeners_) loop::Loop::current().unwatch(listener.get(), *this);
  watching_ = false;
}

void Server::on_events(std::uint32_t /*events*/) {
  for (const auto& listener : listeners_) {
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      const auto clients = in_use();
      if ((limit_ > 0 && clients >= limit_) || clients >= sessions_per_process_) {
        unwatch();
        process_.report_load(clients, true);
        if (is_stress_) make_room();
        return;
      }
      auto accepted = sys::accept_connection(listener.get());
      if (!accepted) {
        log::warning("{}; connections wait", accepted.error().text);
        unwatch();
        // Perhaps no session of ours has to end for it to work again.
        room_timer_.arm(loop::Clock::now() + kAcceptPause);
        return;
      }
      if (!accepted->fd) break;
      serve(*std::move(accepted));
    }
  }
}

void Server::make_room() {
  struct Place {
    Session::Use use;
    loop::TimePoint since;
    Session* session;
  };
  const auto now = loop::Clock::now();
  std::vector<Place> places;
  for (Session* session : sessions_) {
    const Session::Use use = session->use();
    const auto patience = use == Session::Use::kIdle ? kIdlePatience : kTransactionPatience;
    if (use == Session::Use::kNeeded || now - session->waiting_since() < patience) continue;
    places.push_back({use, session->waiting_since(), session});
  }
  const auto count = std::min(places.size(), kRoomPerTurn);
  std::ranges::partial_sort(places, places.begin() + static_cast<std::ptrdiff_t>(count), {},
                            [](const Place& place) { return std::pair(place.use, place.since); });
  for (std::size_t i = 0; i < count; ++i) places[i].session->make_room();
  room_timer_.arm(now + kRoomPause);
}

// What the tests of a first contact take is not held for each session where there are none.
void Server::serve(sys::Accepted client) {
  if (first_contact_ == nullptr) {
    loop::spawn(serve_session({std::move(client), std::nullopt}));
  } else {
    loop::spawn(serve_tested(std::move(client)));
  }
}

loop::Task<void> Server::serve_tested(sys::Accepted client) {
  if (auto admitted = co_await first_contact_->receive(std::move(client))) {
    const bool has_place = co_await first_contact_->take_place(*admitted);
    if (!has_place) {
      admitted.reset();
      session_ended();
      co_return;
    }
    co_await serve_session(*std::move(admitted));
    first_contact_->leave_place();
  } else {
    session_ended();
  }
}

loop::Task<void> Server::serve_session(Admitted admitted) {
  Session session(*this, settings_now(), std::move(admitted.client), ++last_session_);
  if (first_contact_ != nullptr) session.introduce(admitted.proxied);
  sessions_.insert(&session);
  process_.report_load(in_use(), process_.loop().busy_percent() > kBusyPercent);
  co_await session.run();
  sessions_.erase(&session);
  session_ended();
}

std::int64_t Server::in_use() const {
  return static_cast<std::int64_t>(
      sessions_.size() +
      (first_contact_ ? first_contact_->in_test() + first_contact_->waiting() : 0));
}

void Server::session_ended() {
  process_.report_load(in_use(), process_.loop().busy_percent() > kBusyPercent);
  if (process_.is_draining()) {
    if (in_use() == 0) process_.finish();
  } else {
    watch();
  }
}

void Server::drain() {
  unwatch();
  listeners_.clear();
  if (in_use() == 0) return process_.finish();
  // A new program is no reason to send clients away: another process takes those that come.
  if (process_.patience().count() > 0) {
    farewell_timer_.arm(loop::Clock::now() + process_.patience());
  } else {
    say_farewell();
  }
}

void Server::say_farewell() {
  for (Session* session : sessions_) session->drain();
}

}  // namespace postern::smtpd
