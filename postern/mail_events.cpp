#include "postern/mail_events.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/queuefile/queue_id.h"

namespace postern::control {

namespace {

using ipc::agent::Outcome;
using ipc::qmgr::Event;
using ipc::qmgr::EventKind;

constexpr std::size_t kMaxText = 500;
// Of the messages that a filter has picked; more are forgotten, and shown by what names them.
constexpr std::size_t kMaxShown = 10'000;

std::string_view outcome_word(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDelivered:
      return "delivered";
    case Outcome::kBounced:
      return "returned";
    case Outcome::kDeferred:
    case Outcome::kRerouted:
      break;
  }
  return "waits";
}

std::string_view kind_word(EventKind kind) {
  switch (kind) {
    case EventKind::kArrived:
      return "arrived";
    case EventKind::kTriedAgain:
      return "tried again";
    case EventKind::kRemoved:
      return "done";
    case EventKind::kDeferred:
      return "deferred";
    case EventKind::kGone:
      return "taken away";
    case EventKind::kFlushed:
      return "flushed";
    case EventKind::kOutcome:
      break;
  }
  return "outcome";
}

std::string address_text(std::string_view address) {
  return address.empty() ? std::string("<>") : log::clean(address, kMaxText);
}

std::string people(std::size_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

}  // namespace

std::string print_event(const Event& event) {
  const std::string id = log::clean(event.queue_id, kMaxText);
  switch (event.kind) {
    case EventKind::kArrived:
    case EventKind::kTriedAgain: {
      const std::string more =
          event.recipients > 1 ? fmt::format(" and {} more", event.recipients - 1) : std::string();
      const std::string client = event.client.empty()
                                     ? std::string()
                                     : fmt::format(" [{}]", log::clean(event.client, kMaxText));
      return fmt::format("{}  {}: from {}{} to {}{}, {} bytes\n", id, kind_word(event.kind),
                         address_text(event.sender), client, address_text(event.recipient), more,
                         event.size);
    }
    case EventKind::kOutcome: {
      const std::string text = log::clean(event.text, kMaxText);
      return fmt::format("{}  {}  {}{}{}\n", id, address_text(event.recipient),
                         outcome_word(event.outcome), text.empty() ? "" : ": ", text);
    }
    case EventKind::kRemoved:
      return fmt::format("{}  done: nothing is left to deliver\n", id);
    case EventKind::kDeferred:
      return fmt::format("{}  waits for the next attempt; see \"postern why {}\"\n", id, id);
    case EventKind::kGone:
      return fmt::format("{}  not delivered: moved, removed or set aside; see the log\n", id);
    case EventKind::kFlushed:
      break;
  }
  return {};
}

std::string print_event_json(const Event& event, std::int64_t time) {
  nlohmann::ordered_json object = {{"time", time}, {"event", kind_word(event.kind)}};
  const auto put = [&](const char* name, const std::string& value) {
    if (!value.empty()) object[name] = value;
  };
  put("queue_id", event.queue_id);
  if (event.kind == EventKind::kOutcome) object["outcome"] = outcome_word(event.outcome);
  const bool has_envelope = event.kind == EventKind::kArrived ||
                            event.kind == EventKind::kTriedAgain ||
                            event.kind == EventKind::kOutcome;
  if (has_envelope) object["sender"] = event.sender;
  if (has_envelope) put("client", event.client);
  put("recipient", event.recipient);
  if (event.recipients > 0) object["recipients"] = event.recipients;
  if (event.size > 0) object["size"] = event.size;
  put("transport", event.transport);
  put("dsn", event.status);
  put("text", event.text);
  put("remote_mta", event.remote_mta);
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

SessionFacts facts_of(std::string_view line) {
  SessionFacts facts;
  const auto between = [&](std::string_view opening, char closing) {
    const std::size_t at = line.find(opening);
    if (at == std::string_view::npos) return std::string_view();
    const std::string_view rest = line.substr(at + opening.size());
    return rest.substr(0, std::min(rest.find(closing), rest.size()));
  };
  const std::string_view id = line.substr(0, std::min(line.find(": "), line.size()));
  if (queuefile::is_valid_queue_id(id)) facts.queue_id = id;
  facts.sender = between(" from=<", '>');
  facts.recipient = between(" to=<", '>');
  facts.is_refusal = line.find(": reject: ") != std::string_view::npos;
  // The first one: what a stranger says of himself comes later.
  for (std::size_t at = line.find('['); at != std::string_view::npos; at = line.find('[', at + 1)) {
    const std::string_view rest = line.substr(at + 1);
    const std::string_view inside = rest.substr(0, std::min(rest.find(']'), rest.size()));
    if (!config::parse_ip_address(inside)) continue;
    facts.client = inside;
    break;
  }
  return facts;
}

std::string print_line(const ipc::anvil::SessionLine& line) {
  return fmt::format("smtpd/{}  {}\n", log::clean(line.service, kMaxText), log::clean(line.text));
}

std::string print_line_json(const ipc::anvil::SessionLine& line, std::int64_t time) {
  const SessionFacts facts = facts_of(line.text);
  nlohmann::ordered_json object = {{"time", time},
                                   {"event", facts.is_refusal ? "refused" : "session"},
                                   {"service", line.service}};
  const auto put = [&](const char* name, std::string_view value) {
    if (!value.empty()) object[name] = value;
  };
  put("queue_id", facts.queue_id);
  put("client", facts.client);
  put("sender", facts.sender);
  put("recipient", facts.recipient);
  put("text", line.text);
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

EventFilter::EventFilter(std::string_view wanted, config::Networks clients)
    : wanted_(to_lower(wanted)), clients_(std::move(clients)) {}

bool EventFilter::is_from(std::string_view client) const {
  if (clients_.empty()) return true;
  const auto address = config::parse_ip_address(client);
  return address && clients_.contains(*address);
}

bool EventFilter::is_about(std::string_view address) const {
  const std::string lower = to_lower(address);
  if (wanted_.contains('@')) return lower == wanted_;
  return lower.size() > wanted_.size() && lower.ends_with(wanted_) &&
         lower[lower.size() - wanted_.size() - 1] == '@';
}

bool EventFilter::takes(const Event& event) {
  if (wanted_.empty() && clients_.empty()) return true;
  if (shown_.contains(event.queue_id)) return true;
  const bool is_it = wanted_.empty() || to_lower(event.queue_id) == wanted_ ||
                     is_about(event.sender) || is_about(event.recipient);
  if (!is_it || !is_from(event.client)) return false;
  if (shown_.size() >= kMaxShown) shown_.clear();
  shown_.insert(event.queue_id);
  return true;
}

bool EventFilter::takes(const ipc::anvil::SessionLine& line) {
  if (wanted_.empty() && clients_.empty()) return true;
  const SessionFacts facts = facts_of(line.text);
  if (!is_from(facts.client)) return false;
  return wanted_.empty() || (!facts.queue_id.empty() && to_lower(facts.queue_id) == wanted_) ||
         is_about(facts.sender) || is_about(facts.recipient);
}

void EventCounts::add(const Event& event) {
  if (event.kind != EventKind::kOutcome) return;
  if (event.outcome == Outcome::kDelivered) ++delivered;
  if (event.outcome == Outcome::kBounced) ++returned;
  if (event.outcome == Outcome::kDeferred) ++waiting;
}

std::string EventCounts::sentence() const {
  std::string parts;
  const auto part = [&](std::size_t count, std::string_view one, std::string_view many) {
    if (count == 0) return;
    parts += fmt::format("{}{} {}", parts.empty() ? ": " : ", ", count, count == 1 ? one : many);
  };
  part(delivered, "delivered", "delivered");
  part(returned, "returned to its sender", "returned to their senders");
  part(waiting, "still waits", "still wait");
  return people(delivered + returned + waiting, "recipient", "recipients") + parts;
}

}  // namespace postern::control
