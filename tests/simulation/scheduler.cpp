// scheduler.cpp - drives qmgr's scheduler alone, with a clock of its own: a backlog of many
// messages for many destinations, a part of them dead, slow or rate-limited, and mail that comes
// meanwhile.
//
//     scheduler [--svg FILE] [MESSAGES...]
//
// For each number of messages it prints what an event costs, what a message that waits takes of
// memory, and how long new mail for healthy destinations takes. It fails where the cost grows with
// the number, where memory is over the budget, or where a message waits that need not.

#include <fmt/compile.h>
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <limits>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/base/number.h"
#include "qmgr/message_table.h"
#include "qmgr/schedule.h"
#include "qmgr/transport.h"

namespace {

using namespace postern;
using namespace std::chrono_literals;
using loop::TimePoint;

// As the defaults of postconf(5) have them, but for the processes: a host for such a backlog.
constexpr std::size_t kActiveLimit = 20'000;
constexpr unsigned kProcesses = 500;
constexpr auto kBackOff = 300s;
constexpr auto kLifetime = 3600s;  // then a message goes back
constexpr auto kHousekeeping = 60s;
constexpr auto kNewMailEvery = 20ms;
constexpr std::size_t kMessagesADestination = 10;

enum class Kind : std::uint8_t { kHealthy, kSlow, kDead, kPaced };

Kind kind_of(std::size_t destination) {
  switch (destination % 50) {
    case 7:
      return Kind::kDead;
    case 17:
      return Kind::kSlow;
    case 27:
    case 37:
      return Kind::kPaced;
    default:
      return Kind::kHealthy;
  }
}

std::chrono::milliseconds time_of(Kind kind) {
  switch (kind) {
    case Kind::kSlow:
      return 10s;
    case Kind::kDead:
      return 1s;
    default:
      return 20ms;
  }
}

// Of this process: the machine may be busy with other things.
double cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

std::size_t memory_in_use() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

struct Figures {
  std::size_t messages = 0;
  std::size_t events = 0;
  double cpu_ns = 0;
  double ns_per_event = 0;
  double bytes_per_message = 0;
  std::vector<double> waits;  // of new mail, seconds, sorted
  double longest_first_try = 0;
  std::size_t delivered = 0;
  std::size_t returned = 0;

  [[nodiscard]] double wait_at(double share) const {
    if (waits.empty()) return 0;
    return waits[static_cast<std::size_t>(share * static_cast<double>(waits.size() - 1))];
  }
};

class World {
 public:
  explicit World(std::size_t messages)
      : destinations_(std::max<std::size_t>(messages / kMessagesADestination, 10)),
        queued_(messages),
        tried_(messages, false) {
    qmgr::Limits limits;
    limits.dead_time = kBackOff;
    plain_ = std::make_unique<qmgr::Transport>("smtp", limits);
    limits.rate_delay = 1s;
    paced_ = std::make_unique<qmgr::Transport>("paced", limits);
    figures_.messages = messages;
  }

  Figures run() {
    const std::size_t before = memory_in_use();
    for (std::size_t i = 0; i < queued_; ++i) {
      schedule_.put(id_of(i), queuefile::Queue::kDeferred, start_);
    }
    figures_.bytes_per_message =
        static_cast<double>(memory_in_use() - before) / static_cast<double>(queued_);
    const double began = cpu_ns();
    fill();
    pump_all();
    while (left_ > 0 || schedule_.size() > 0 || active_.size() > 0) {
      step();
    }
    figures_.cpu_ns = cpu_ns() - began;
    std::ranges::sort(figures_.waits);
    return std::move(figures_);
  }

 private:
  struct Event {
    TimePoint at;
    std::size_t flight;
    bool operator>(const Event& other) const { return at > other.at; }
  };
  struct Flight {
    qmgr::Message* message = nullptr;
    qmgr::Destination* destination = nullptr;
    qmgr::Transport* transport = nullptr;
    Kind kind = Kind::kHealthy;
  };

  // As from the queue file that was read a moment ago: nothing that lies about in memory.
  class Name {
   public:
    explicit Name(std::size_t number) {
      size_ = static_cast<std::size_t>(
          fmt::format_to(text_, FMT_COMPILE("mx{}.example.org"), number) - text_);
    }
    operator std::string_view() const { return {text_, size_}; }

   private:
    char text_[40];
    std::size_t size_;
  };

  static std::string id_of(std::size_t number) { return fmt::format("{:014X}", number); }
  static std::size_t number_of(std::string_view id) {
    std::size_t number = 0;
    std::from_chars(id.data(), id.data() + id.size(), number, 16);
    return number;
  }

  std::size_t destination_of(std::size_t number) {
    if (number < queued_) return number % destinations_;
    // New mail is for the healthy ones: of the others nobody expects it soon.
    std::size_t destination = (number * 7919) % destinations_;
    while (kind_of(destination) != Kind::kHealthy) destination = (destination + 1) % destinations_;
    return destination;
  }

  void step() {
    TimePoint next = schedule_.next();
    const bool has_room = active_.size() < kActiveLimit - kActiveLimit / 5;
    if (!has_room) next = loop::kNever;
    if (!events_.empty()) next = std::min(next, events_.top().at);
    next = std::min({next, wake_at_, left_ > 0 ? new_mail_at_ : loop::kNever});
    now_ = std::max(now_, next);
    if (left_ > 0 && new_mail_at_ <= now_) take_new_mail();
    if (!events_.empty() && events_.top().at <= now_) land();
    if (wake_at_ <= now_) wake_at_ = loop::kNever;
    if (housekeeping_at_ <= now_) {
      housekeeping_at_ = now_ + kHousekeeping;
      plain_->forget_idle(now_);
      paced_->forget_idle(now_);
    }
    fill();
    pump_all();
  }

  void take_new_mail() {
    --left_;
    new_mail_at_ += kNewMailEvery;
    const std::size_t number = queued_ + arrivals_.size();
    arrivals_.push_back(now_);
    if (active_.size() < kActiveLimit) {
      activate(number, true);
    } else {
      schedule_.put(id_of(number), queuefile::Queue::kIncoming, now_);
    }
  }

  void fill() {
    while (active_.size() < kActiveLimit - kActiveLimit / 5) {
      const auto due = schedule_.take_due(now_);
      if (!due) return;
      activate(number_of(due->id), false);
    }
  }

  void activate(std::size_t number, bool is_new) {
    auto message = std::make_unique<qmgr::Message>();
    message->id = id_of(number);
    message->is_new = is_new;
    qmgr::Message* const raw = message.get();
    active_.add(std::move(message));
    const std::size_t index = destination_of(number);
    qmgr::Transport& transport = kind_of(index) == Kind::kPaced ? *paced_ : *plain_;
    qmgr::Destination& destination = transport.destination(Name(index));
    if (destination.is_dead(now_)) return defer(*raw);
    destination.add({raw, {0}});
    transport.list(destination);
  }

  void pump_all() {
    pump(*plain_);
    pump(*paced_);
  }

  void pump(qmgr::Transport& transport) {
    unsigned& in_use = &transport == plain_.get() ? in_use_ : in_use_paced_;
    while (in_use < kProcesses) {
      qmgr::Destination* const destination = transport.next(now_, wake_at_);
      if (destination == nullptr) return;
      qmgr::Job job = destination->take(transport.limits(), now_);
      transport.list(*destination);
      const std::size_t number = number_of(job.message->id);
      note_first_try(number);
      const Kind kind = kind_of(destination_of(number));
      if (free_flights_.empty()) {
        free_flights_.push_back(flights_.size());
        flights_.emplace_back();
      }
      const std::size_t place = free_flights_.back();
      free_flights_.pop_back();
      flights_[place] = {job.message, destination, &transport, kind};
      events_.push({now_ + time_of(kind), place});
      ++in_use;
    }
  }

  void note_first_try(std::size_t number) {
    if (number >= queued_ || tried_[number]) return;
    tried_[number] = true;
    const std::chrono::duration<double> wait = now_ - start_;
    if (kind_of(destination_of(number)) == Kind::kHealthy) {
      figures_.longest_first_try = std::max(figures_.longest_first_try, wait.count());
    }
  }

  void land() {
    ++figures_.events;
    const Flight flight = flights_[events_.top().flight];
    free_flights_.push_back(events_.top().flight);
    events_.pop();
    --(flight.transport == plain_.get() ? in_use_ : in_use_paced_);
    flight.destination->landed();
    if (flight.kind == Kind::kDead) {
      const bool has_died =
          flight.destination->failed(flight.transport->limits(), now_, "4.4.1 no answer");
      defer(*flight.message);
      if (has_died) {
        for (const auto& job : flight.destination->take_all()) defer(*job.message);
      }
    } else {
      flight.destination->succeeded(flight.transport->limits());
      finish(*flight.message);
    }
    flight.transport->list(*flight.destination);
  }

  void finish(qmgr::Message& message) {
    const std::size_t number = number_of(message.id);
    ++figures_.delivered;
    if (number >= queued_) {
      const std::chrono::duration<double> wait = now_ - arrivals_[number - queued_];
      figures_.waits.push_back(wait.count());
    }
    active_.erase(message);
  }

  void defer(qmgr::Message& message) {
    ++figures_.events;
    if (now_ - start_ >= kLifetime) {
      ++figures_.returned;
    } else {
      schedule_.put(message.id, queuefile::Queue::kDeferred, now_ + kBackOff);
    }
    active_.erase(message);
  }

  std::size_t destinations_;
  std::size_t queued_;
  std::vector<bool> tried_;
  std::unique_ptr<qmgr::Transport> plain_;
  std::unique_ptr<qmgr::Transport> paced_;
  qmgr::Schedule schedule_;
  qmgr::MessageTable active_;  // as Manager has them
  std::vector<Flight> flights_;
  std::vector<std::size_t> free_flights_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<TimePoint> arrivals_;
  const TimePoint start_{std::chrono::hours(1000)};
  TimePoint now_ = start_;
  TimePoint wake_at_ = loop::kNever;
  TimePoint new_mail_at_ = start_;
  TimePoint housekeeping_at_ = start_ + kHousekeeping;
  std::size_t left_ = 500;  // new mail to come
  unsigned in_use_ = 0;
  unsigned in_use_paced_ = 0;
  Figures figures_;
};

// Cost of an event over the number of messages, both by powers of ten.
void plot(const std::string& path, const std::vector<Figures>& all) {
  constexpr double kWidth = 640;
  constexpr double kHeight = 360;
  constexpr double kMargin = 60;
  double highest = 0;
  for (const auto& figures : all) highest = std::max(highest, figures.ns_per_event);
  const double first = std::log10(static_cast<double>(all.front().messages));
  const double last = std::log10(static_cast<double>(all.back().messages));
  const auto x_of = [&](const Figures& figures) {
    const double at = std::log10(static_cast<double>(figures.messages)) - first;
    return kMargin + at / std::max(last - first, 1e-9) * (kWidth - 2 * kMargin);
  };
  const auto y_of = [&](double value) {
    return kHeight - kMargin - value / highest * (kHeight - 2 * kMargin);
  };
  std::string points;
  std::string texts;
  for (const auto& figures : all) {
    points += fmt::format("{:.1f},{:.1f} ", x_of(figures), y_of(figures.ns_per_event));
    texts += fmt::format(
        "<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{:.0f} ns</text>"
        "<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{}</text>\n",
        x_of(figures), y_of(figures.ns_per_event) - 8, figures.ns_per_event, x_of(figures),
        kHeight - kMargin + 18, figures.messages);
  }
  std::ofstream(path) << fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='{0}' height='{1}' font-family='sans-serif' "
      "font-size='12'>\n<text x='{2}' y='24' font-size='15'>What an event of the scheduler costs, "
      "by messages queued</text>\n<polyline points='{3}' fill='none' stroke='#2a6' "
      "stroke-width='2'/>\n<line x1='{2}' y1='{4}' x2='{5}' y2='{4}' stroke='#888'/>\n{6}</svg>\n",
      kWidth, kHeight, kMargin, points, kHeight - kMargin, kWidth - kMargin, texts);
}

// A thousand messages take a millisecond: as many worlds of them, one after the other, as tell what
// an event costs when memory and caches are warm, not in a program's first moments.
Figures measure(std::size_t messages) {
  constexpr std::size_t kEvents = 200'000;
  double cpu = 0;
  std::size_t events = 0;
  Figures figures;
  while (events < kEvents) {
    figures = World(messages).run();
    cpu += figures.cpu_ns;
    events += figures.events;
  }
  figures.ns_per_event = cpu / static_cast<double>(events);
  return figures;
}

// Of all rounds the least: what else runs on the machine can only add to it.
double least(const std::vector<Figures>& all, std::size_t messages) {
  double ns = std::numeric_limits<double>::max();
  for (const auto& figures : all) {
    if (figures.messages == messages) ns = std::min(ns, figures.ns_per_event);
  }
  return ns;
}

// A thousand messages live in the processor's own cache, a million do not: each place that is
// looked at is a hundred nanoseconds then, more on a machine that shares its memory, and one pass
// over all that waits is milliseconds. Ten times as many of those that do not show what the
// structures cost.
bool is_cost_steady(std::vector<Figures>& all) {
  constexpr double kMostOfAll = 4;
  constexpr double kMostOfMany = 2;
  constexpr int kRounds = 5;
  const std::size_t few = all.front().messages;
  const std::size_t some = all[all.size() < 2 ? 0 : all.size() - 2].messages;
  const std::size_t many = all.back().messages;
  for (int round = 1;; ++round) {
    const double ns = least(all, many);
    const double of_all = ns / least(all, few);
    const double of_many = ns / least(all, some);
    fmt::print("an event among {} costs {:.2f} times what it costs among {}, {:.2f} times of {}\n",
               many, of_all, few, of_many, some);
    const bool is_steady = of_all <= kMostOfAll && of_many <= kMostOfMany;
    if (is_steady || round == kRounds) return is_steady;
    for (const std::size_t size : std::set{few, some, many}) all.push_back(measure(size));
  }
}

bool check(bool condition, std::string_view what) {
  if (!condition) fmt::print(stderr, "FAILED: {}\n", what);
  return condition;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::size_t> sizes;
  std::string svg;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--svg" && i + 1 < argc) {
      svg = argv[++i];
    } else if (const auto size = parse_integer<std::size_t>(word, 1)) {
      sizes.push_back(*size);
    }
  }
  if (sizes.empty()) sizes = {1'000, 10'000, 100'000, 1'000'000};
  fmt::print("{:>10} {:>10} {:>10} {:>10} {:>12} {:>26} {:>14}\n", "messages", "events",
             "delivered", "ns/event", "bytes/queued", "new mail p50/p95/max (s)", "last first try");
  std::vector<Figures> all;
  bool is_good = true;
  for (const std::size_t size : sizes) {
    Figures figures = measure(size);
    fmt::print("{:>10} {:>10} {:>10} {:>10.0f} {:>12.0f} {:>10.2f} {:>7.2f} {:>7.2f} {:>12.1f} s\n",
               figures.messages, figures.events, figures.delivered, figures.ns_per_event,
               figures.bytes_per_message, figures.wait_at(0.5), figures.wait_at(0.95),
               figures.wait_at(1), figures.longest_first_try);
    is_good =
        check(figures.delivered + figures.returned == size + 500, "every message ends") && is_good;
    is_good = check(figures.bytes_per_message <= 300, "300 bytes a message that waits") && is_good;
    is_good = check(figures.wait_at(0.95) < 1, "new mail is out within a second") && is_good;
    all.push_back(std::move(figures));
  }
  if (!svg.empty()) plot(svg, all);
  is_good =
      check(is_cost_steady(all), "the cost of an event does not grow with what waits") && is_good;
  return is_good ? 0 : 1;
}
