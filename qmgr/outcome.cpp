// outcome.cpp - what the agents report.
//
// The order is: a failure is first a record in the bounce log, fsynced, then the recipient's state
// byte, then the confirmation to the agent. A crash in between repeats at most the step that it
// interrupted.

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <set>

#include "common/base/text.h"
#include "common/ipc/flush.h"
#include "common/ipc/verify.h"
#include "common/log/log.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/reader.h"
#include "qmgr/manager.h"

namespace postern::qmgr {

namespace {
using ipc::agent::Share;

// The rest is for who reads reports.
bool is_decisive(const ipc::agent::RecipientReport& entry) {
  return entry.share == Share::kWhole || entry.share == Share::kSum;
}

constexpr std::chrono::seconds kBounceTime{100};
// Messages whose marks the disk did not take.
constexpr std::size_t kMaxUnmarked = 10'000;

// Where a message is that an agent still has when qmgr is another.
std::optional<queuefile::Queue> find_left_over(const queuefile::QueueDirs& dirs,
                                               const std::string& id) {
  using queuefile::Queue;
  if (!queuefile::is_valid_queue_id(id)) return std::nullopt;
  return dirs.find(id, {Queue::kActive, Queue::kDeferred, Queue::kIncoming, Queue::kHold});
}

}  // namespace

// An agent that somebody has taken over says nothing of mail that it was not given; what it says of
// other recipients of its messages is left out.
bool Manager::is_about_its_own(const Agent* agent, const Message* message,
                               ipc::agent::Report& report) const {
  // Of an earlier queue manager's delivery: its agent holds the file's lock until we have answered.
  if (report.delivery == 0) {
    return (message == nullptr || !message->is_fresh) && is_with_somebody(report.queue_id);
  }
  if (agent == nullptr) return false;
  const auto flight = agent->flights.find(report.delivery);
  if (flight == agent->flights.end() || flight->second.message != message) return false;
  const auto& given = flight->second.recipients;
  std::erase_if(report.recipients, [&](const auto& entry) {
    const Recipient* const recipient = find_recipient(*message, entry.state_offset);
    if (recipient == nullptr) return true;
    const auto index = static_cast<std::uint32_t>(recipient - message->recipients.data());
    return std::ranges::find(given, index) == given.end();
  });
  return true;
}

bool Manager::is_with_somebody(const std::string& id) const {
  const auto queue = find_left_over(dirs_, id);
  if (!queue) return false;
  const auto fd = dirs_.open_message(*queue, id);
  return fd && *fd && ::flock((*fd)->get(), LOCK_EX | LOCK_NB) < 0;
}

loop::Task<Result<ipc::Done>> Manager::report(ipc::agent::Report report, ipc::ChannelPtr channel) {
  Message* message = find(report.queue_id);
  const auto* const agent = static_cast<const Agent*>(channel->context.get());
  if (!is_about_its_own(agent, message, report)) {
    log::warning("{}: process {} reports on a delivery that it was not given", report.queue_id,
                 channel->peer());
    co_return ipc::Done{};
  }
  if (message == nullptr) {
    leftover(report);
    co_return ipc::Done{};
  }
  // The message stays while this report is being recorded, whatever else ends meanwhile.
  ++message->flights;
  if (report.is_damaged) {
    set_aside({message->id, dirs_.path_of(message->queue, message->id)},
              "damaged: " + report.damage);
    for (auto& recipient : message->recipients) {
      if (recipient.progress == Progress::kWaiting) --message->waiting;
      recipient.progress = Progress::kDeferred;
    }
  } else {
    if (!watchers_.empty()) watchers_.reported(*message, report);
    if (message->is_traced) {
      co_await trace(*message, report);
    } else {
      co_await note_successes(*message, report);
    }
    co_await record(*message, report);
  }
  --message->flights;
  if (channel->context != nullptr) {
    reroute(*static_cast<Agent*>(channel->context.get()), report);
  }
  if (report.is_last && channel->context != nullptr) {
    land(*static_cast<Agent*>(channel->context.get()), report);
  }
  finish_if_done(*message);
  co_return ipc::Done{};
}

// As an agent would report it that was asked.
loop::Task<void> Manager::return_refused(Message* message) {
  ++message->flights;
  const auto [status, text] = split_at_first(message->refusal, ' ');
  ipc::agent::Report report;
  report.queue_id = message->id;
  for (const Recipient& recipient : message->recipients) {
    if (recipient.progress != Progress::kWaiting) continue;
    auto& entry = report.recipients.emplace_back();
    entry.state_offset = static_cast<std::int64_t>(recipient.state_offset);
    entry.outcome = ipc::agent::Outcome::kBounced;
    entry.status = status;
    entry.text = text;
  }
  if (!watchers_.empty()) watchers_.reported(*message, report);
  if (message->is_traced) co_await trace(*message, report);
  co_await record(*message, report);
  --message->flights;
  finish_if_done(*message);
}

// Address verification: an answer that gets lost is asked for again.
void Manager::record_probe(Message& message, const ipc::agent::Report& report) {
  for (const auto& entry : report.recipients) {
    if (entry.outcome == ipc::agent::Outcome::kRerouted || !is_decisive(entry)) continue;
    Recipient* recipient = find_recipient(message, entry.state_offset);
    if (recipient == nullptr || recipient->progress == Progress::kDone) continue;
    if (recipient->progress == Progress::kWaiting) --message.waiting;
    --message.remaining;
    recipient->progress = Progress::kDone;
    if (message.is_dry_run) continue;
    ipc::verify::Outcome notice;
    notice.address = recipient->orig_to.empty() ? recipient->address : recipient->orig_to;
    notice.status = entry.outcome == ipc::agent::Outcome::kDelivered ? ipc::verify::Status::kGood
                    : entry.outcome == ipc::agent::Outcome::kBounced ? ipc::verify::Status::kBad
                                                                     : ipc::verify::Status::kUnsure;
    notice.text = entry.text;
    verify_.notify(notice);
  }
}

loop::Task<void> Manager::record(Message& message, const ipc::agent::Report& report) {
  if (message.is_probe || message.is_dry_run) {
    record_probe(message, report);
    co_return;
  }
  ipc::bounce::Append bounced;
  ipc::bounce::Append deferred;
  std::vector<Recipient*> done;
  std::vector<Recipient*> returned;
  std::vector<Recipient*> waiting;
  const auto bounce = [&](const Recipient& recipient, const ipc::agent::RecipientReport& entry) {
    bounced.recipients.push_back(to_agent(recipient));
    bounced.reports.push_back(entry);
  };
  for (const auto& entry : report.recipients) {
    if (!is_decisive(entry)) continue;
    Recipient* recipient = find_recipient(message, entry.state_offset);
    if (recipient == nullptr || recipient->progress == Progress::kDone) continue;
    switch (entry.outcome) {
      case ipc::agent::Outcome::kDelivered:
        done.push_back(recipient);
        break;
      case ipc::agent::Outcome::kBounced:
        if (entry.share == Share::kWhole) bounce(*recipient, entry);
        returned.push_back(recipient);
        break;
      case ipc::agent::Outcome::kRerouted:
        break;
      case ipc::agent::Outcome::kDeferred:
        deferred.recipients.push_back(to_agent(*recipient));
        deferred.reports.push_back(entry);
        waiting.push_back(recipient);
        break;
    }
  }
  for (const auto& entry : report.recipients) {
    if (entry.share != Share::kPart || entry.outcome != ipc::agent::Outcome::kBounced) continue;
    // What failed beside something that is tried again fails again, and is told then.
    Recipient* recipient = find_recipient(message, entry.state_offset);
    if (std::ranges::find(returned, recipient) != returned.end()) bounce(*recipient, entry);
  }
  const auto settle = [&](const std::vector<Recipient*>& recipients, Progress progress) {
    for (Recipient* recipient : recipients) {
      if (recipient->progress == Progress::kWaiting) --message.waiting;
      if (progress == Progress::kDone && recipient->progress != Progress::kDone)
        --message.remaining;
      recipient->progress = progress;
    }
  };
  const auto offsets = [](const std::vector<Recipient*>& recipients) {
    std::vector<std::uint64_t> result;
    for (const Recipient* recipient : recipients) result.push_back(recipient->state_offset);
    return result;
  };

  settle(done, Progress::kDone);
  if (!returned.empty()) {
    bounced.log = "bounce";
    bounced.queue_id = message.id;
    const auto logged = co_await bounce_.call(bounced, loop::Clock::now() + kBounceTime);
    if (logged) {
      message.has_bounces = true;
      settle(returned, Progress::kDone);
      write_states(message, offsets(returned), queuefile::State::kReturned);
    } else {
      // Not on record: it is tried again, and fails again.
      log::warning("{}: {}; the recipient is deferred", message.id, logged.error().text);
      settle(returned, Progress::kDeferred);
    }
  }
  if (!waiting.empty()) {
    message.was_deferred = true;
    deferred.log = "defer";
    deferred.queue_id = message.id;
    const auto logged = co_await defer_.call(deferred, loop::Clock::now() + kBounceTime);
    if (!logged) log::warning("{}: {}", message.id, logged.error().text);
    settle(waiting, Progress::kDeferred);
    if (!settings_.fast_flush_domains.empty()) tell_flush(message, waiting);
  }
  // A message that is removed at once needs no marks: the removal is the mark. One that was held
  // for this agent's sake is removed when its turn comes again.
  const bool is_removed = message.remaining == 0 && !message.has_bounces && message.jobs == 0;
  if (!done.empty() && !(is_removed && report.is_last)) {
    write_states(message, offsets(done), queuefile::State::kDone);
  }
}

// A trace that cannot be kept is no reason to hold up mail.
loop::Task<void> Manager::trace(Message& message, const ipc::agent::Report& report) {
  ipc::bounce::Append traced;
  traced.log = "trace";
  traced.queue_id = message.id;
  for (const auto& entry : report.recipients) {
    const Recipient* recipient = find_recipient(message, entry.state_offset);
    if (recipient == nullptr || recipient->progress == Progress::kDone) continue;
    if (entry.outcome == ipc::agent::Outcome::kRerouted) continue;
    if (entry.share == Share::kSum || entry.share == Share::kNote) continue;
    auto& kept = traced.reports.emplace_back(entry);
    traced.recipients.push_back(to_agent(*recipient));
    if (entry.outcome == ipc::agent::Outcome::kBounced) kept.action = "failed";
    if (entry.outcome == ipc::agent::Outcome::kDeferred) kept.action = "delayed";
    // Passed on to a server that reports itself.
    if (kept.action.empty()) kept.action = "relayed";
    if (message.is_dry_run) {
      const bool is_good = entry.outcome == ipc::agent::Outcome::kDelivered;
      kept.action = is_good ? "deliverable" : "undeliverable";
    }
  }
  if (traced.reports.empty()) co_return;
  const auto logged = co_await trace_.call(std::move(traced), loop::Clock::now() + kBounceTime);
  if (logged) {
    message.has_trace = true;
  } else {
    log::warning("{}: trace: {}", message.id, logged.error().text);
  }
}

loop::Task<void> Manager::note_successes(Message& message, const ipc::agent::Report& report) {
  if (message.sender.empty() || message.is_probe) co_return;
  ipc::bounce::Append successes;
  const bool clears_delay = may_have_warned(message);
  for (const auto& entry : report.recipients) {
    if (entry.outcome != ipc::agent::Outcome::kDelivered) continue;
    if (entry.share == Share::kPart || entry.share == Share::kSum) continue;
    // Without an action it was passed on to a server that reports itself.
    if (entry.action.empty() && !clears_delay) continue;
    const Recipient* recipient = find_recipient(message, entry.state_offset);
    if (recipient == nullptr || recipient->progress == Progress::kDone) continue;
    if ((recipient->notify & queuefile::kNotifySuccess) == 0 && !clears_delay) continue;
    successes.recipients.push_back(to_agent(*recipient));
    successes.reports.push_back(entry);
    if (entry.action.empty()) successes.reports.back().action = "relayed";
  }
  if (successes.reports.empty()) co_return;
  successes.log = "trace";
  successes.queue_id = message.id;
  const auto logged = co_await trace_.call(std::move(successes), loop::Clock::now() + kBounceTime);
  if (logged) {
    message.has_successes = true;
  } else {
    log::warning("{}: trace: {}", message.id, logged.error().text);
  }
}

void Manager::tell_flush(const Message& message, const std::vector<Recipient*>& waiting) {
  std::set<std::string, std::less<>> told;
  for (const Recipient* recipient : waiting) {
    const auto at = recipient->address.rfind('@');
    if (at == std::string::npos) continue;
    std::string site = to_lower(std::string_view(recipient->address).substr(at + 1));
    // What a table decides is asked there.
    if (settings_.fast_flush_domains.match(site).kind == config::SiteList::Match::Kind::kNo) {
      continue;
    }
    if (!told.insert(site).second) continue;
    ipc::flush::Waiting notice;
    notice.site = std::move(site);
    notice.queue_id = message.id;
    flush_.notify(notice);
  }
}

void Manager::write_states(const Message& message, const std::vector<std::uint64_t>& offsets,
                           queuefile::State state) {
  const auto keep = [&](std::uint64_t offset) {
    if (unmarked_.size() < kMaxUnmarked || unmarked_.contains(message.id)) {
      unmarked_[message.id].push_back({offset, state});
    }
  };
  const auto fd = dirs_.open_message(message.queue, message.id, O_RDWR);
  if (!fd) {
    log::warning("{}: mark recipients: {}", message.id, fd.error().text);
    std::ranges::for_each(offsets, keep);
    return;
  }
  if (!*fd) return;
  for (const std::uint64_t offset : offsets) {
    const auto written = queuefile::write_state((*fd)->get(), offset, state);
    if (written) continue;
    log::warning("{}: mark recipient: {}", message.id, written.error().text);
    keep(offset);
  }
}

void Manager::mark_again(Message& message) {
  const auto kept = unmarked_.extract(message.id);
  if (kept.empty()) return;
  for (const Unmarked& mark : kept.mapped()) {
    Recipient* const recipient = find_recipient(message, static_cast<std::int64_t>(mark.offset));
    if (recipient != nullptr) recipient->progress = Progress::kDone;
    write_states(message, {mark.offset}, mark.state);
  }
}

// What an agent passes on to another waits there, and is no longer part of its flight.
void Manager::reroute(Agent& agent, const ipc::agent::Report& report) {
  const auto flight = agent.flights.find(report.delivery);
  if (flight == agent.flights.end()) return;
  Message& message = *flight->second.message;
  for (const auto& entry : report.recipients) {
    if (entry.outcome != ipc::agent::Outcome::kRerouted || !is_decisive(entry)) continue;
    Recipient* recipient = find_recipient(message, entry.state_offset);
    if (recipient == nullptr || recipient->progress != Progress::kWaiting) continue;
    const auto index = static_cast<std::uint32_t>(recipient - message.recipients.data());
    if (std::erase(flight->second.recipients, index) == 0) continue;
    const std::size_t colon = std::min(entry.text.find(':'), entry.text.size());
    recipient->transport = entry.text.substr(0, colon);
    recipient->nexthop = entry.text.substr(std::min(colon + 1, entry.text.size()));
    if (!entry.address.empty()) recipient->address = entry.address;
    enqueue(message, recipient->transport, recipient->nexthop, {index});
  }
}

void Manager::land(Agent& agent, const ipc::agent::Report& report) {
  const auto flight = agent.flights.find(report.delivery);
  if (flight == agent.flights.end()) return;
  Transport& service = *agent.transport;
  Destination& destination = *flight->second.destination;
  Message& message = *flight->second.message;
  --message.flights;
  destination.landed();
  destination.note_done(loop::Clock::now());
  // What the last report says nothing of is taken as tried and not delivered.
  for (const std::uint32_t index : flight->second.recipients) {
    Recipient& recipient = message.recipients[index];
    if (recipient.progress != Progress::kWaiting) continue;
    recipient.progress = Progress::kDeferred;
    --message.waiting;
  }
  agent.flights.erase(flight);
  if (!report.is_destination_failure) {
    destination.succeeded(service.limits());
  } else if (!report.recipients.empty()) {
    const auto& first = report.recipients.front();
    const std::string why = first.status + " delivery temporarily suspended: " + first.text;
    if (destination.failed(service.limits(), loop::Clock::now(), why)) {
      suspend(service, destination, why);
    }
  }
  service.list(destination);
  pump(service);
}

// A report about a message that is not in memory: of an agent that outlived the qmgr it worked for,
// or of a message that an operator took away. The marks are set in the file, if it is there.
void Manager::leftover(const ipc::agent::Report& report) {
  const auto queue = find_left_over(dirs_, report.queue_id);
  if (!queue) return;
  Message message;
  message.id = report.queue_id;
  message.queue = *queue;
  std::vector<std::uint64_t> done;
  for (const auto& entry : report.recipients) {
    if (entry.outcome == ipc::agent::Outcome::kDelivered && is_decisive(entry)) {
      done.push_back(static_cast<std::uint64_t>(entry.state_offset));
    }
  }
  // Only offsets that are recipients' states may be written.
  const auto fd = dirs_.open_message(*queue, report.queue_id);
  if (!fd || !*fd) return;
  const auto opened =
      queuefile::open_message((*fd)->get(), {.verify = queuefile::Verify::kStructure});
  if (!opened) return;
  std::erase_if(done, [&](std::uint64_t offset) {
    return std::none_of(opened->envelope.recipients.begin(), opened->envelope.recipients.end(),
                        [&](const auto& recipient) { return recipient.state_offset == offset; });
  });
  write_states(message, done, queuefile::State::kDone);
  // What was read before the marks were made is not delivered again.
  for (Message* const loading : loading_messages_) {
    if (loading->id != report.queue_id) continue;
    for (Recipient& recipient : loading->recipients) {
      if (std::ranges::find(done, recipient.state_offset) == done.end()) continue;
      recipient.progress = Progress::kDone;
    }
  }
}

}  // namespace postern::qmgr
