#include "postern/why_story.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/ipc/mailauth.h"
#include "common/log/clean.h"
#include "common/mail/header.h"
#include "common/mailauth/results_header.h"
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

// The first line of what smtpd writes into Received: "using TLSv1.3 with cipher ...".
std::string tls_text(std::string_view trace) {
  constexpr std::string_view kUsing = "using ";
  std::string_view line = trace.substr(0, trace.find('\n'));
  if (line.starts_with(kUsing)) line.remove_prefix(kUsing.size());
  return line.empty() ? "TLS" : std::string(line);
}

std::string facts_text(const Story& story) {
  if (story.envelope.origin != queuefile::Origin::kNetwork) return {};
  std::string out =
      fmt::format("  secrecy   {}\n",
                  story.secrecy.empty() ? "none, it came in the clear" : log::clean(story.secrecy));
  std::vector<std::string> words;
  for (const auto& [method, result] : story.verdicts) {
    words.push_back(fmt::format("{} {}", to_upper(method), log::clean(result)));
  }
  if (!words.empty()) out += fmt::format("  verdicts  {}\n", join(words, ", "));
  return out;
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

std::string end_text(const Lifetime& lifetime, std::int64_t arrival, std::int64_t now) {
  if (lifetime.is_unknown) return fmt::format("gives up when {} says so", lifetime.parameter);
  return fmt::format("gives up {} ({} {})", moment_text(arrival + lifetime.seconds, now),
                     lifetime.parameter, span_text(lifetime.seconds));
}

bool is_waiting(const StoryRecipient& entry) {
  return entry.recipient.state == queuefile::State::kPending;
}

std::string recipient_text(const Story& story, const StoryRecipient& entry, std::int64_t now) {
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
  if (is_waiting(entry) && entry.lifetime != story.lifetime && !story.is_forced_expire) {
    line += "  " + end_text(entry.lifetime, story.envelope.arrival.seconds, now);
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
  // Where each has a time of its own, it stands beside it.
  const bool is_for_any = std::ranges::any_of(story.recipients, [&](const auto& entry) {
    return is_waiting(entry) && entry.lifetime == story.lifetime;
  });
  if (!is_for_any) return out + "\n";
  return out + ", " + end_text(story.lifetime, story.envelope.arrival.seconds, now) + "\n";
}

// What holds the message up, each cause once, with the recipient that shows it.
struct Finding {
  Cause cause;
  std::vector<std::string> commands;
  std::size_t recipients = 0;
};

std::vector<Finding> find_causes(const Story& story) {
  std::vector<Finding> out;
  for (const auto& [recipient, lifetime, attempts] : story.recipients) {
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

void put_end(nlohmann::ordered_json& out, const Lifetime& lifetime, std::int64_t arrival) {
  if (!lifetime.is_unknown) out["gives_up_time"] = arrival + lifetime.seconds;
  out["lifetime_parameter"] = lifetime.parameter;
}

nlohmann::ordered_json json_of(const Story& story, const StoryRecipient& entry) {
  const auto& recipient = entry.recipient;
  nlohmann::ordered_json out = {{"address", recipient.address},
                                {"state", state_text(recipient.state)}};
  if (!recipient.orig_to.empty()) out["original_recipient"] = recipient.orig_to;
  if (recipient.resolved) {
    out["transport"] = recipient.resolved->transport;
    out["next_hop"] = recipient.resolved->nexthop;
  }
  if (is_waiting(entry)) put_end(out, entry.lifetime, story.envelope.arrival.seconds);
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
                                {"forced_expire", story.is_forced_expire}};
  put_end(out, story.lifetime, envelope.arrival.seconds);
  if (envelope.origin == queuefile::Origin::kNetwork) out["tls"] = story.secrecy;
  for (const auto& [method, verdict] : story.verdicts) out["verdicts"][method] = verdict;
  if (story.next_attempt != 0) out["next_attempt_time"] = story.next_attempt;
  if (story.warned != 0) out["sender_warned_time"] = story.warned;
  out["recipients"] = nlohmann::ordered_json::array();
  for (const auto& recipient : story.recipients)
    out["recipients"].push_back(json_of(story, recipient));
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

void add_facts(Story& story, std::string_view header, std::string_view authserv_id) {
  std::int64_t wanted = 0;
  for (const auto& [name, value] : story.envelope.attributes) {
    if (name == "received_secret" && story.secrecy.empty()) story.secrecy = "TLS";
    if (name == "received_tls") story.secrecy = tls_text(value);
    if (name == ipc::mailauth::kAttribute) wanted = parse_integer<std::int64_t>(value).value_or(0);
  }
  constexpr std::int64_t kVerdicts =
      ipc::mailauth::kSpf | ipc::mailauth::kDkim | ipc::mailauth::kDmarc | ipc::mailauth::kArc;
  // Where nothing was examined, a field in our name is the sender's.
  if ((wanted & kVerdicts) == 0) return;
  for (const auto& field : mail::split_header(header)) {
    if (!equal_nocase(field.name, "Authentication-Results")) continue;
    const std::string value = mail::unfold(field.body);
    const auto id = mailauth::authserv_id_of(value);
    if (!id || !equal_nocase(*id, authserv_id)) continue;
    for (const std::string_view method : {"spf", "dkim", "dmarc", "arc"}) {
      if (auto result = mailauth::find_result(value, method)) {
        story.verdicts.emplace_back(method, *std::move(result));
      }
    }
    return;
  }
}

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
  out += facts_text(story);
  const std::size_t shown = std::min(story.recipients.size(), kShownRecipients);
  for (std::size_t i = 0; i < shown; ++i) out += recipient_text(story, story.recipients[i], now);
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
