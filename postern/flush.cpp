// flush.cpp - `postern flush` and `postern trace --live`: what qmgr is asked, and what it tells.

#include <fmt/format.h>
#include <getopt.h>
#include <sysexits.h>
#include <unistd.h>

#include <ctime>
#include <functional>
#include <utility>
#include <vector>

#include "common/config/networks.h"
#include "common/config/param.h"
#include "common/ipc/anvil.h"
#include "common/ipc/client.h"
#include "common/ipc/qmgr.h"
#include "common/loop/loop.h"
#include "common/sys/socket.h"
#include "postern/mail_events.h"
#include "postern/mail_system.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

using ipc::anvil::SessionLine;
using ipc::qmgr::Event;
using ipc::qmgr::EventKind;

constexpr std::chrono::seconds kAnswerTime{100};
constexpr std::chrono::seconds kAnvilTime{5};
constexpr std::chrono::seconds kFlushTime{3600};

std::string socket_of(const MailSystem& system) {
  const config::Values values = system.values();
  return fmt::format("{}/public/{}", values.text("queue_directory"),
                     values.text("queue_service_name"));
}

std::string anvil_of(const MailSystem& system) {
  return system.values().text("queue_directory") + "/private/anvil";
}

enum class End { kAsked, kTime, kLost, kRefused };

// Looks on until `on_event` gives false, the time is over, or qmgr has gone.
class Onlooker {
 public:
  Onlooker(ipc::qmgr::Watch request, std::chrono::seconds time) : request_(request), time_(time) {}
  // What smtpd writes of its clients is wanted, too.
  void add_sessions(std::string socket, std::function<void(const SessionLine&)> on_line) {
    sessions_ = std::move(socket);
    on_line_ = std::move(on_line);
  }
  End look(const std::string& socket, std::function<void(std::int64_t)> on_start,
           std::function<bool(const Event&)> on_event);

 private:
  void end(End end);
  void take(const Event& event) {
    if (!is_over_ && !on_event_(event)) end(End::kAsked);
  }
  static loop::Task<void> ask(Onlooker* self, ipc::ChannelPtr channel, ipc::ChannelPtr sessions);
  // Null where there is nobody to ask.
  [[nodiscard]] ipc::ChannelPtr connect_sessions(ipc::Dispatcher& dispatcher) const;

  ipc::qmgr::Watch request_;
  std::chrono::seconds time_;
  End end_ = End::kAsked;
  bool is_over_ = false;
  bool is_answered_ = false;
  std::string sessions_;
  std::function<void(const SessionLine&)> on_line_;
  loop::Loop loop_;
  std::function<void(std::int64_t)> on_start_;
  std::function<bool(const Event&)> on_event_;
  std::vector<Event> early_;  // they came together with the answer, and are told after it
};

void Onlooker::end(End end) {
  if (!is_over_) end_ = end;
  is_over_ = true;
  // A flush of nothing is over before it is answered.
  if (is_answered_ || end != End::kAsked) loop_.stop();
}

loop::Task<void> Onlooker::ask(Onlooker* self, ipc::ChannelPtr channel, ipc::ChannelPtr sessions) {
  if (sessions != nullptr) {
    // What qmgr tells is worth seeing without it.
    const auto watched =
        co_await sessions->call(ipc::anvil::WatchSessions{}, loop::Clock::now() + kAnvilTime);
    if (!watched) {
      fmt::print(stderr, "postern: sessions of SMTP clients are not shown: {}\n",
                 watched.error().text);
    }
  }
  const auto answer = co_await channel->call(self->request_, loop::Clock::now() + kAnswerTime);
  self->is_answered_ = true;
  if (answer) {
    self->on_start_(answer->messages);
    for (const Event& event : std::exchange(self->early_, {})) self->take(event);
    if (self->is_over_) self->loop_.stop();
    co_return;
  }
  if (!self->is_over_) fmt::print(stderr, "postern: {}\n", answer.error().text);
  self->end(End::kRefused);
}

ipc::ChannelPtr Onlooker::connect_sessions(ipc::Dispatcher& dispatcher) const {
  if (sessions_.empty()) return nullptr;
  auto fd = sys::connect_unix(sessions_);
  if (!fd) return nullptr;
  dispatcher.notice<ipc::anvil::BanList>([](ipc::anvil::BanList&, const ipc::ChannelPtr&) {});
  dispatcher.notice<ipc::anvil::Watched>([](ipc::anvil::Watched&, const ipc::ChannelPtr&) {});
  dispatcher.notice<SessionLine>(
      [this](SessionLine& line, const ipc::ChannelPtr&) { on_line_(line); });
  auto channel = std::make_shared<ipc::Channel>(*std::move(fd), dispatcher);
  channel->start();
  return channel;
}

End Onlooker::look(const std::string& socket, std::function<void(std::int64_t)> on_start,
                   std::function<bool(const Event&)> on_event) {
  auto fd = sys::connect_unix(socket);
  if (!fd) return End::kLost;
  on_start_ = std::move(on_start);
  on_event_ = std::move(on_event);
  ipc::Dispatcher dispatcher;
  dispatcher.notice<Event>([this](Event& event, const ipc::ChannelPtr&) {
    if (is_answered_) return take(event);
    early_.push_back(std::move(event));
  });
  const auto channel = std::make_shared<ipc::Channel>(*std::move(fd), dispatcher);
  channel->start([this](const ipc::ChannelPtr&) { end(End::kLost); });
  loop::CallbackTimer timer([this] { end(End::kTime); });
  timer.arm(loop::Clock::now() + time_);
  ipc::Dispatcher of_sessions;
  const auto sessions = connect_sessions(of_sessions);
  loop::spawn(ask(this, channel, sessions));
  // Refused at once: nothing would stop the loop any more.
  const bool is_done = is_over_ && (is_answered_ || end_ != End::kAsked);
  if (!is_done) loop_.run();
  channel->close();
  if (sessions != nullptr) sessions->close();
  return end_;
}

void tell_dropped(std::int64_t dropped) {
  if (dropped == 0) return;
  fmt::print(stderr, "postern: {} events could not be shown: this terminal was too slow\n",
             dropped);
}

void show(const Event& event, bool is_json) {
  tell_dropped(event.dropped);
  fmt::print("{}", is_json ? print_event_json(event, std::time(nullptr)) : print_event(event));
  (void)std::fflush(stdout);
}

void show(const SessionLine& line, bool is_json) {
  tell_dropped(line.dropped);
  fmt::print("{}", is_json ? print_line_json(line, std::time(nullptr)) : print_line(line));
  (void)std::fflush(stdout);
}

struct Options {
  bool is_wait = false;
  bool is_live = false;
  bool is_json = false;
  std::chrono::seconds time{};
  config::Networks clients{};
};

// An address, a network or a list of them. False when it is none, which was said.
bool read_clients(const char* text, config::Networks& clients) {
  std::vector<std::string> faults;
  const auto no_file = [](std::string_view) { return std::optional<std::string>(); };
  clients = config::Networks::parse(text, no_file, faults);
  if (faults.empty() && !clients.empty() && clients.tables().empty()) return true;
  fmt::print(stderr, "postern: --client {}: not an address or a network\n", text);
  return false;
}

// Nothing when the words are no such options, which was said.
std::optional<Options> read_options(int argc, char** argv, const char* usage,
                                    std::chrono::seconds time) {
  constexpr option kOptions[] = {
      {"wait", no_argument, nullptr, 'w'},         {"live", no_argument, nullptr, 'l'},
      {"json", no_argument, nullptr, 'j'},         {"time", required_argument, nullptr, 't'},
      {"client", required_argument, nullptr, 'c'}, {nullptr, 0, nullptr, 0}};
  Options options;
  options.time = time;
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "v", kOptions, nullptr)) != -1;) {
    if (letter == 'w') options.is_wait = true;
    if (letter == 'l') options.is_live = true;
    if (letter == 'j') options.is_json = true;
    if (letter == 'c' && !read_clients(::optarg, options.clients)) return std::nullopt;
    if (letter == 't') {
      const auto given = config::parse_duration(::optarg);
      if (!given) {
        fmt::print(stderr, "postern: --time {}: {}\n", ::optarg, given.error().text);
        return std::nullopt;
      }
      options.time = *given;
    }
    if (letter == '?') {
      fmt::print(stderr, "{}\n", usage);
      return std::nullopt;
    }
  }
  return options;
}

int refuse_down(std::string_view what) {
  refuse(fmt::format("cannot {}: the mail system is down", what));
  return EX_UNAVAILABLE;
}

int flush_and_wait(const MailSystem& system, const Options& options) {
  if (::geteuid() != 0) return refuse("flush --wait needs the superuser");
  if (!system.running()) return refuse_down("flush the mail queue");
  EventCounts counts;
  Onlooker onlooker({.is_flush = true}, options.time);
  const auto start = [&](std::int64_t messages) {
    if (options.is_json) return;
    fmt::print("{} message{} tried\n", messages, messages == 1 ? " is" : "s are");
    (void)std::fflush(stdout);
  };
  const End end = onlooker.look(socket_of(system), start, [&](const Event& event) {
    counts.add(event);
    const bool is_news = event.kind == EventKind::kOutcome || event.kind == EventKind::kGone;
    if (is_news) {
      show(event, options.is_json);
    } else {
      tell_dropped(event.dropped);
    }
    return event.kind != EventKind::kFlushed;
  });
  if (!options.is_json) fmt::print("{}\n", counts.sentence());
  if (end == End::kLost) return refuse_down("wait for the end of the flush");
  if (end == End::kRefused) return 1;
  if (end == End::kTime) {
    fmt::print(stderr, "postern flush: not over within {} s; the rest goes on\n",
               options.time.count());
    return EX_TEMPFAIL;
  }
  if (counts.waiting > 0) return EX_TEMPFAIL;
  return counts.returned > 0 ? 1 : 0;
}

}  // namespace

int flush_main(int argc, char** argv) {
  constexpr const char* kUsage = "usage: postern flush [--wait [--time time] [--json]]";
  const auto options = read_options(argc, argv, kUsage, kFlushTime);
  if (!options) return EX_USAGE;
  if (!options->clients.empty()) {
    fmt::print(stderr, "{}\n", kUsage);
    return EX_USAGE;
  }
  const auto system = open_mail_system();
  if (!system) return 1;
  if (options->is_wait) return flush_and_wait(*system, *options);
  loop::Loop loop;
  ipc::Client qmgr(socket_of(*system));
  const auto channel = system->running() ? qmgr.channel_now() : nullptr;
  if (channel == nullptr) return refuse_down("flush the mail queue");
  channel->notify(ipc::qmgr::Flush{});
  channel->flush_now();
  return 0;
}

int trace_main(int argc, char** argv) {
  constexpr const char* kUsage =
      "usage: postern trace --live [--client address] [--time time] [--json] "
      "[queue-id|address|domain]";
  auto options = read_options(argc, argv, kUsage, std::chrono::hours(24 * 365));
  if (!options) return EX_USAGE;
  if (!options->is_live || argc - ::optind > 1) {
    fmt::print(stderr, "{}\n", kUsage);
    return EX_USAGE;
  }
  EventFilter filter(::optind < argc ? argv[::optind] : "", std::move(options->clients));
  const auto system = open_mail_system();
  if (!system) return 1;
  if (::geteuid() != 0) return refuse("trace needs the superuser");
  if (!system->running()) return refuse_down("look on");
  Onlooker onlooker({.is_live = true}, options->time);
  onlooker.add_sessions(anvil_of(*system), [&](const SessionLine& line) {
    if (filter.takes(line)) show(line, options->is_json);
  });
  const auto start = [](std::int64_t) { fmt::print(stderr, "looking on; end with ^C\n"); };
  const End end = onlooker.look(socket_of(*system), start, [&](const Event& event) {
    if (filter.takes(event)) show(event, options->is_json);
    return true;
  });
  if (end == End::kLost) return refuse_down("look on");
  return end == End::kRefused ? 1 : 0;
}

}  // namespace postern::control
