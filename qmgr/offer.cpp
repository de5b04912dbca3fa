// offer.cpp - whose turn it is, and which agent takes it.

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <map>
#include <ranges>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/verp.h"
#include "common/sys/socket.h"
#include "qmgr/manager.h"

namespace postern::qmgr {

namespace {

// A service that master starts with the first connection is there within this time; if not, its
// mail is deferred, for another transport's sake and for the administrator's, who sees why.
constexpr std::chrono::seconds kStartTime{15};
// More processes of one service are never connected to (service_workers is 4 at most).
constexpr std::size_t kMaxAgents = 8;
// A predecessor's agent still has the file.
constexpr std::chrono::seconds kLockRetry{1};

// The order in which an agent, its server and its command line get them, whatever the envelope's:
// by domain, then by address, as Postfix has it.
int compare(const Recipient& a, const Recipient& b) {
  const auto domain_of = [](const Recipient& recipient) {
    return mail::split_address(recipient.address).domain;
  };
  const int by_domain = compare_nocase(domain_of(a), domain_of(b));
  return by_domain != 0 ? by_domain : a.address.compare(b.address);
}

}  // namespace

Transport& Manager::transport(const std::string& name) {
  auto& place = transports_[name];
  if (place == nullptr) place = std::make_unique<Transport>(name, limits_of(name));
  return *place;
}

void Manager::assign(Message& message) {
  // Recipients of one destination travel together.
  std::map<std::pair<std::string_view, std::string_view>, std::vector<std::uint32_t>> groups;
  for (std::uint32_t i = 0; i < message.recipients.size(); ++i) {
    const Recipient& recipient = message.recipients[i];
    if (recipient.progress != Progress::kWaiting) continue;
    if (!message.verp_delims.empty()) {
      enqueue(message, recipient.transport, recipient.nexthop, {i});
      continue;
    }
    groups[{recipient.transport, recipient.nexthop}].push_back(i);
  }
  for (auto& [key, recipients] : groups) {
    // From the back they are taken.
    std::ranges::sort(recipients, [&](std::uint32_t a, std::uint32_t b) {
      const int order = compare(message.recipients[a], message.recipients[b]);
      return order != 0 ? order > 0 : a > b;
    });
    enqueue(message, std::string(key.first), std::string(key.second), std::move(recipients));
  }
}

void Manager::enqueue(Message& message, const std::string& transport_name,
                      const std::string& nexthop, std::vector<std::uint32_t> recipients) {
  Transport& service = transport(transport_name);
  const auto now = loop::Clock::now();
  // Local mail is grouped by recipient: one slow mailbox must not hold up the others.
  const bool is_per_recipient =
      service.limits().recipients == 1 && !transport_name.starts_with("retry");
  if (is_per_recipient && nexthop.empty()) {
    for (const std::uint32_t index : recipients) {
      Destination& one = service.destination(message.recipients[index].address);
      one.add({&message, {index}});
      service.list(one);
    }
    return pump(service);
  }
  Destination& destination = service.destination(nexthop);
  destination.begin_anew(service.limits(), now);
  destination.add({&message, std::move(recipients)});
  const auto& deferred = settings_.defer_transports;
  if (!is_flushing_ &&
      std::find(deferred.begin(), deferred.end(), transport_name) != deferred.end()) {
    return suspend(service, destination, "4.3.2 deferred transport");
  }
  if (now < service.dead_until) return suspend(service, destination, service.why_dead);
  if (destination.is_dead(now)) {
    return suspend(service, destination,
                   destination.why_dead().empty() ? "4.4.1 destination is not available"
                                                  : std::string(destination.why_dead()));
  }
  service.list(destination);
  pump(service);
}

void Manager::pump_all() {
  for (auto& [name, service] : transports_) pump(*service);
}

void Manager::pump(Transport& service) {
  if (is_leaving_) return;
  const auto now = loop::Clock::now();
  for (;;) {
    Agent* agent = agent_with_room(service);
    if (agent == nullptr) return watch_stuck(service);
    loop::TimePoint wake_at = loop::kNever;
    Destination* destination = service.next(now, wake_at);
    if (destination == nullptr) {
      if (wake_at != loop::kNever) pace_timer_.arm(wake_at);
      break;
    }
    offer(service, *agent, *destination);
  }
  service.stuck_since = loop::kNever;
}

Agent* Manager::agent_with_room(Transport& service) {
  Agent* best = nullptr;
  for (const auto& agent : service.agents) {
    if (!agent->has_room()) continue;
    if (best == nullptr || agent->flights.size() < best->flights.size()) best = agent.get();
  }
  return best;
}

// Work waits and nobody has room: another process may help, or there is none at all.
void Manager::watch_stuck(Transport& service) {
  if (!service.has_work()) return;
  const bool is_waiting_for_hello =
      std::any_of(service.agents.begin(), service.agents.end(),
                  [](const auto& agent) { return agent->credits == 0; });
  if (!is_waiting_for_hello && service.agents.size() < kMaxAgents) connect(service);
  if (!service.agents.empty() &&
      std::any_of(service.agents.begin(), service.agents.end(),
                  [](const auto& agent) { return agent->credits > 0; })) {
    return;
  }
  const auto now = loop::Clock::now();
  if (service.stuck_since == loop::kNever) service.stuck_since = now;
  if (now - service.stuck_since < kStartTime) return pace_timer_.arm(now + std::chrono::seconds(1));
  service.stuck_since = loop::kNever;
  log::warning(
      "mail transport {} is not available: no process of that service takes mail; see its "
      "master.cf line and the lines of master above",
      service.name());
  suspend_transport(service, "4.3.0 mail transport unavailable");
}

void Manager::connect(Transport& service) {
  auto fd = sys::connect_unix("private/" + service.name());
  if (!fd) {
    if (fd.error().text.ends_with(sys::errno_text(ENOENT)) && service.agents.empty()) {
      log::warning("connect to transport private/{}: {}", service.name(), sys::errno_text(ENOENT));
      suspend_transport(service, "4.3.0 mail transport unavailable");
    }
    return;
  }
  auto agent = std::make_unique<Agent>();
  agent->transport = &service;
  agent->channel = std::make_shared<ipc::Channel>(*std::move(fd), of_agents_);
  // The handlers find the agent by its channel.
  agent->channel->context = std::shared_ptr<void>(std::shared_ptr<void>(), agent.get());
  Agent* raw = agent.get();
  service.agents.push_back(std::move(agent));
  raw->channel->start([this, raw](const ipc::ChannelPtr&) { agent_closed(raw); });
}

void Manager::agent_closed(Agent* agent) {
  Transport& service = *agent->transport;
  auto flights = std::exchange(agent->flights, {});
  const auto place = std::find_if(service.agents.begin(), service.agents.end(),
                                  [&](const auto& owned) { return owned.get() == agent; });
  agent->channel->context = nullptr;
  closed_agents_.push_back(std::move(*place));
  service.agents.erase(place);
  loop::Loop::current().post([this] { closed_agents_.clear(); });
  // What it had is offered again: what it delivered and could not report is delivered twice.
  for (auto& [id, flight] : flights) {
    --flight.message->flights;
    flight.destination->landed();
    std::erase_if(flight.recipients, [&](std::uint32_t index) {
      return flight.message->recipients[index].progress != Progress::kWaiting;
    });
    if (!flight.recipients.empty()) {
      flight.destination->add({flight.message, flight.recipients});
    }
    service.list(*flight.destination);
    finish_if_done(*flight.message);
  }
  // One that has said that it takes no more has not begun them.
  if (!flights.empty() && agent->credits >= 0) {
    log::warning(
        "a process of mail transport {} ended with {} deliveries under way; they are "
        "repeated",
        service.name(), flights.size());
  }
  pace_timer_.arm(loop::Clock::now() + std::chrono::milliseconds(100));
}

void Manager::hold(Transport& service, Destination& destination, Job job) {
  Message& message = *job.message;
  if (!message.was_held) {
    message.was_held = true;
    log::info("{}: still with an agent of an earlier queue manager; waiting", message.id);
  }
  // That agent may hold nothing but a report that it cannot hand over: it waits to be connected to.
  // It may be one that was replaced itself, beside the one that we know.
  for (const Recipient& recipient : message.recipients) {
    if (recipient.transport.empty()) continue;
    Transport& other = transport(recipient.transport);
    const bool is_connecting =
        std::ranges::any_of(other.agents, [](const auto& agent) { return agent->credits == 0; });
    if (!is_connecting && other.agents.size() < kMaxAgents) connect(other);
  }
  ++message.jobs;
  held_.push_back({&service, std::string(destination.nexthop()), std::move(job)});
  if (!held_timer_.is_armed()) held_timer_.arm(loop::Clock::now() + kLockRetry);
}

void Manager::release_held() {
  for (Held& held : std::exchange(held_, {})) {
    --held.job.message->jobs;
    Destination& destination = held.transport->destination(held.nexthop);
    destination.add(std::move(held.job));
    held.transport->list(destination);
  }
  pump_all();
}

void Manager::offer(Transport& service, Agent& agent, Destination& destination) {
  Job job = destination.take(service.limits(), loop::Clock::now());
  service.list(destination);
  Message& message = *job.message;
  // An agent of an earlier queue manager may have reported some of them meanwhile.
  job.recipients.remove_if([&](std::uint32_t index) {
    return message.recipients[index].progress != Progress::kWaiting;
  });
  if (job.recipients.empty()) {
    destination.landed();
    return finish_if_done(message);
  }
  auto fd = dirs_.open_message(queuefile::Queue::kActive, message.id);
  if (!fd || !*fd) {
    destination.landed();
    if (!fd) log::warning("open {}: {}", message.id, fd.error().text);
    // Gone: the operator's doing. Not to be opened: everything else about it is unknown, too.
    for (const std::uint32_t index : job.recipients) {
      message.recipients[index].progress = Progress::kDeferred;
      --message.waiting;
    }
    return finish_if_done(message);
  }
  // Who came before us may have died with an agent that still delivers this very message.
  const int lock = message.is_fresh ? LOCK_SH : LOCK_EX;
  if (::flock((*fd)->get(), lock | LOCK_NB) < 0) {
    destination.landed();
    return hold(service, destination, std::move(job));
  }
  if (!message.is_fresh) {
    ::flock((*fd)->get(), LOCK_SH | LOCK_NB);
    message.is_fresh = true;
  }

  ipc::agent::Deliver delivery;
  delivery.delivery = ++agent.last_delivery;
  delivery.queue_id = message.id;
  delivery.queue = queuefile::queue_name(message.queue);
  delivery.transport = service.name();
  delivery.nexthop = destination.nexthop();
  delivery.sender = message.sender;
  if (!message.verp_delims.empty()) {
    const Recipient& only = message.recipients[*job.recipients.begin()];
    delivery.sender = mail::verp_sender(
        message.sender, only.orig_to.empty() ? only.address : only.orig_to, message.verp_delims);
  }
  delivery.message_size = static_cast<std::int64_t>(message.size);
  delivery.arrival_us = message.arrival_us;
  delivery.active_us = message.active_us;
  delivery.is_fresh = message.is_new;
  delivery.is_probe = message.is_probe || message.is_dry_run;
  delivery.is_dry_run = message.is_dry_run;
  delivery.is_busy_destination = destination.is_back_to_back(loop::Clock::now());
  delivery.recipients.reserve(job.recipients.size());
  for (const std::uint32_t index : job.recipients | std::views::reverse) {
    const Recipient& recipient = message.recipients[index];
    delivery.recipients.push_back(to_agent(recipient));
  }
  ++message.flights;
  agent.flights.emplace(delivery.delivery,
                        Flight{&message, &destination, job.recipients.to_vector()});
  std::vector<sys::Fd> fds;
  fds.push_back(std::move(**fd));
  agent.channel->notify(delivery, std::move(fds));
}

void Manager::suspend(Transport& service, Destination& destination, const std::string& why) {
  auto jobs = destination.take_all();
  if (service.name() == "retry") {
    // Nobody is left who could defer them with a log line.
    for (auto& job : jobs) {
      for (const std::uint32_t index : job.recipients) {
        Recipient& recipient = job.message->recipients[index];
        if (recipient.progress != Progress::kWaiting) continue;
        recipient.progress = Progress::kDeferred;
        --job.message->waiting;
      }
      finish_if_done(*job.message);
    }
    return;
  }
  for (auto& job : jobs) enqueue(*job.message, "retry", why, job.recipients.to_vector());
}

void Manager::suspend_transport(Transport& service, const std::string& why) {
  service.dead_until = loop::Clock::now() + settings_.transport_retry_time;
  service.why_dead = why;
  std::vector<Destination*> all;
  service.for_each([&](Destination& d) { all.push_back(&d); });
  for (Destination* destination : all) suspend(service, *destination, why);
}

}  // namespace postern::qmgr
