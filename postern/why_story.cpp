#include "postern/why_story.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "postern/queue_groups.h"
#include "postern/why_cause.h"

namespace postern::control {

namespace {

// More than a screen holds: the rest is counted.
constexpr std::size_t kShownRecipients = 20;
constexpr std::size_t kShownCauses = 5;

std::string origin_text(const queuefile::Envelope& envelope) {
  switch (envelope.origin) {
    case queuefile::Origin::kLocal:
      return "from a local program";
    case queuefile::Origin::kForward:
      return "by an alias or a .forward file of this host";
    case queuefile::Origin::kNotice:
      return "a notice of this mail system";
    case queuefile::Origin::kProbe:
      return "a probe of this mail system";
    case queuefile::Origin::kNetwork:
      break;
  }
  const auto& client = envelope.client;
  std::string out = fmt::format("from {} [{}]", client.name.empty() ? "unknown" : client.name,
                                client.address.empty() ? "unknown" : client.address);
  if (!client.helo.empty()) out += ", helo " + client.helo;
  if (!client.protocol.empty()) out += ", " + client.protocol;
  out += envelope.sasl_username.empty() ? ", not authenticated"
                                        : ", authenticated as " + envelope.sasl_username;
  if (!envelope.sasl_method.empty()) out += " (" + envelope.sasl_method + ")";
  return log::clean(out);
}

std::string_view state_text(queuefile::State state) {
  switch (state) {
    case queuefile::State::kPending:
      return "waits";
    case queuefile::State::kDone:
      return "delivered";
    case queuefile::State::kReturned:
      return "returned";
    case queuefile::State::kRemoved:
      return "removed";
  }
  return "unknown";
}

bool is_same(const Attempt& a, const Attempt& b) {
  return a.status == b.status && reason_group(a.text) == reason_group(b.text);
}

// Each attempt that told something new; what repeats it is one line, with the time of the last.
std::string attempts_text(const std::vector<Attempt>& attempts, std::int64_t now) {
  std::string out;
  for (std::size_t i = 0; i < attempts.size();) {
    const Attempt& first = attempts[i];
    out += fmt::format("    {}  attempt {:<3} {} {}\n", moment_text(first.time, now), i + 1,
                       log::clean(first.status), log::clean(first.text, 1000));
    std::size_t end = i + 1;
    while (end < attempts.size() && is_same(first, attempts[end])) ++end;
    const std::string last = moment_text(attempts[end - 1].time, now);
    if (end - i == 2) out += fmt::format("    {}  attempt {:<3} same\n", last, end);
    if (end - i > 2) out += fmt::format("    {}  attempts {} to {}: same\n", last, i + 2, end);
    i = end;
  }
  return out;
}

std::string recipient_text(const StoryRecipient& entry, std::int64_t now) {
  const auto& recipient = entry.recipient;
  std::string line = recipient.address;
  if (!recipient.orig_to.empty() && recipient.orig_to != recipient.address) {
    line += fmt::format(" (sent to {})", recipient.orig_to);
  }
  line += fmt::format("  {}", state_text(recipient.state));
  if (recipient.resolved) {
    line += fmt::format("  by {}, next hop {}", recipient.resolved->transport,
                        recipient.resolved->nexthop);
  }
  return fmt::format("  {}\n{}", log::clean(line, 2000), attempts_text(entry.attempts, now));
}

std::string prospect_text(const Story& story, std::int64_t now) {
  if (story.queue_name == "hold") return "  next try  when it is released\n";
  std::string out = "  next try  ";
  if (story.next_attempt == 0) {
    out += "at once";
  } else if (story.next_attempt <= now) {
    out += "now due, when the system runs";
  } else {
    out += fmt::format("{} (in {})", moment_text(story.next_attempt, now),
                       span_text(story.next_attempt - now));
  }
  if (story.is_forced_expire) return out + ", given up then (an operator has expired it)\n";
  return out + fmt::format(", gives up {} ({} {})\n", moment_text(story.gives_up, now),
                           story.lifetime,
                           span_text(story.gives_up - story.envelope.arrival.seconds));
}

// What holds the message up, each cause once, with the recipient that shows it.
struct Finding {
  Cause cause;
  std::vector<std::string> commands;
  std::size_t recipients = 0;
};

std::vector<Finding> find_causes(const Story& story) {
  std::vector<Finding> out;
  for (const auto& [recipient, attempts] : story.recipients) {
    if (recipient.state != queuefile::State::kPending && story.queue_name != "maildrop") continue;
    const Attempt last = attempts.empty() ? Attempt{} : attempts.back();
    const Cause cause = find_cause({story.queue_name, last.status, last.text});
    auto found = std::ranges::find(out, cause, &Finding::cause);
    if (found == out.end()) {
      const auto at = recipient.address.rfind('@');
      const std::string domain =
          at == std::string::npos ? "" : to_lower(recipient.address.substr(at + 1));
      out.push_back({cause, advice(cause, story.queue_id, domain, host_in(last.text)), 0});
      found = out.end() - 1;
    }
    ++found->recipients;
  }
  return out;
}

std::string findings_text(const Story& story) {
  std::string out;
  const auto findings = find_causes(story);
  for (std::size_t i = 0; i < std::min(findings.size(), kShownCauses); ++i) {
    out +=
        fmt::format("Cause   {}{}\n", findings[i].cause.sentence,
                    findings.size() == 1 ? ""
                                         : fmt::format(" ({} recipient{})", findings[i].recipients,
                                                       findings[i].recipients == 1 ? "" : "s"));
    out += fmt::format("Try     {}\n", join(findings[i].commands, "     "));
  }
  return out;
}

nlohmann::ordered_json json_of(const StoryRecipient& entry) {
  const auto& recipient = entry.recipient;
  nlohmann::ordered_json out = {{"address", recipient.address},
                                {"state", state_text(recipient.state)}};
  if (!recipient.orig_to.empty()) out["original_recipient"] = recipient.orig_to;
  if (recipient.resolved) {
    out["transport"] = recipient.resolved->transport;
    out["next_hop"] = recipient.resolved->nexthop;
  }
  out["attempts"] = nlohmann::ordered_json::array();
  for (const auto& attempt : entry.attempts) {
    out["attempts"].push_back(
        {{"time", attempt.time}, {"status", attempt.status}, {"text", attempt.text}});
  }
  return out;
}

nlohmann::ordered_json json_of(const Story& story) {
  const auto& envelope = story.envelope;
  nlohmann::ordered_json out = {{"queue_name", story.queue_name},
                                {"queue_id", story.queue_id},
                                {"sender", envelope.sender},
                                {"message_size", story.size},
                                {"arrival_time", envelope.arrival.seconds},
                                {"client_name", envelope.client.name},
                                {"client_address", envelope.client.address},
                                {"helo", envelope.client.helo},
                                {"protocol", envelope.client.protocol},
                                {"sasl_username", envelope.sasl_username},
                                {"forced_expire", story.is_forced_expire},
                                {"gives_up_time", story.gives_up},
                                {"lifetime_parameter", story.lifetime}};
  if (story.next_attempt != 0) out["next_attempt_time"] = story.next_attempt;
  if (story.warned != 0) out["sender_warned_time"] = story.warned;
  out["recipients"] = nlohmann::ordered_json::array();
  for (const auto& recipient : story.recipients) out["recipients"].push_back(json_of(recipient));
  out["causes"] = nlohmann::ordered_json::array();
  for (const auto& finding : find_causes(story)) {
    out["causes"].push_back({{"cause", finding.cause.key},
                             {"text", finding.cause.sentence},
                             {"recipients", finding.recipients},
                             {"try", finding.commands}});
  }
  return out;
}

}  // namespace

void add_attempts(Story& story, const std::vector<queuefile::Reason>& history) {
  std::unordered_map<std::uint64_t, StoryRecipient*> by_offset;
  for (auto& entry : story.recipients) by_offset[entry.recipient.state_offset] = &entry;
  for (const auto& reason : history) {
    if (reason.action == "warned") {
      story.warned = reason.time;
      continue;
    }
    const auto found = by_offset.find(reason.state_offset);
    if (found == by_offset.end()) continue;
    found->second->attempts.push_back({reason.time, reason.status, reason.text});
  }
  for (auto& entry : story.recipients) {
    std::ranges::sort(entry.attempts, {}, &Attempt::time);
  }
}

std::string print_story(const Story& story, std::int64_t now) {
  const auto& envelope = story.envelope;
  std::string to = "nobody";
  if (!story.recipients.empty()) to = story.recipients.front().recipient.address;
  if (story.recipients.size() > 1) {
    to = fmt::format("{} recipients", story.recipients.size());
  }
  std::string out = fmt::format("{}  {} -> {}   {}   {}\n", story.queue_id,
                                envelope.sender.empty() ? "<>" : log::clean(envelope.sender),
                                log::clean(to), size_text(story.size), story.queue_name);
  out += fmt::format("  {}  received {}\n", moment_text(envelope.arrival.seconds, now),
                     origin_text(envelope));
  const std::size_t shown = std::min(story.recipients.size(), kShownRecipients);
  for (std::size_t i = 0; i < shown; ++i) out += recipient_text(story.recipients[i], now);
  if (shown < story.recipients.size()) {
    out += fmt::format("  ... and {} more recipients\n", story.recipients.size() - shown);
  }
  if (story.warned != 0) {
    out += fmt::format("  {}  the sender was told that it waits\n", moment_text(story.warned, now));
  }
  return out + prospect_text(story, now) + findings_text(story);
}

std::string print_stories_json(const std::vector<Story>& stories) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& story : stories) list.push_back(json_of(story));
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace postern::control
