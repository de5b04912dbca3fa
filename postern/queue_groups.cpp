#include "postern/queue_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/mail/date.h"

namespace postern::control {

namespace {

using queuefile::ListedMessage;

constexpr std::string_view kNames[] = {"reason", "domain", "sender"};
constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kDay = 86'400;

// A number of a queue, a session or a time: what differs from one reply to the next. Versions,
// reply codes and host names, which tell something, are short or have a dot.
bool is_id(std::string_view word) {
  constexpr std::size_t kLeastId = 8;
  if (word.size() < kLeastId || word.find('.') != std::string_view::npos) return false;
  return std::ranges::count_if(word, is_digit) >= 2 && std::ranges::all_of(word, [](char c) {
           return is_alnum(c) || c == '-' || c == '_' || c == ':' || c == ';';
         });
}

// Without "[192.0.2.1]" behind a host's name.
std::string without_addresses(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto open = text.find('[');
    out += text.substr(0, open);
    if (open == std::string_view::npos) break;
    const auto close = text.find(']', open);
    const std::string_view inside =
        close == std::string_view::npos ? "" : text.substr(open + 1, close - open - 1);
    const bool is_address = !inside.empty() && std::ranges::all_of(inside, [](char c) {
      return is_alnum(c) || c == '.' || c == ':';
    });
    if (is_address && open > 0 && is_alnum(text[open - 1])) {
      text.remove_prefix(close + 1);
    } else {
      out += '[';
      text.remove_prefix(open + 1);
    }
  }
  return out;
}

std::string reason_name(const ListedMessage& message, std::string_view reason) {
  if (message.queue_name == "hold") return "on hold";
  if (!reason.empty()) return reason_group(reason);
  if (message.queue_name == "active") return "delivery is under way";
  if (message.queue_name == "deferred") return "no reason is known";
  return "just arrived";
}

std::string domain_name(std::string_view address) {
  const auto at = address.rfind('@');
  return at == std::string_view::npos ? std::string("(no domain)")
                                      : to_lower(address.substr(at + 1));
}

std::set<std::string> names_of(GroupBy by, const ListedMessage& message) {
  if (by == GroupBy::kSender) {
    return {message.sender.empty() ? std::string("<>") : to_lower(message.sender)};
  }
  std::set<std::string> names;
  for (const auto& recipient : message.recipients) {
    names.insert(by == GroupBy::kDomain ? domain_name(recipient.address)
                                        : reason_name(message, recipient.reason));
  }
  return names;
}

void count_in(QueueGroup& group, const ListedMessage& message) {
  const auto earliest = [](std::int64_t known, std::int64_t seen) {
    return known == 0 ? seen : seen == 0 ? known : std::min(known, seen);
  };
  ++group.messages;
  group.bytes += message.size;
  group.oldest = earliest(group.oldest, message.arrival_time);
  group.next_attempt = earliest(group.next_attempt, message.next_attempt);
}

std::string next_text(const QueueGroup& group, std::int64_t now) {
  if (group.next_attempt == 0) return "-";
  return group.next_attempt <= now ? "now" : moment_text(group.next_attempt, now);
}

}  // namespace

std::optional<GroupBy> find_group_by(std::string_view name) {
  const auto* const known = std::ranges::find(kNames, name);
  if (known == std::end(kNames)) return std::nullopt;
  return static_cast<GroupBy>(known - std::begin(kNames));
}

std::string_view group_by_name(GroupBy by) { return kNames[static_cast<std::size_t>(by)]; }

std::string reason_group(std::string_view reason) {
  constexpr std::string_view kSuspended = "delivery temporarily suspended: ";
  if (const auto at = reason.find(kSuspended); at != std::string_view::npos) {
    reason.remove_prefix(at + kSuspended.size());
  }
  const std::string text = without_addresses(reason);
  std::string out;
  for (const std::string_view word : split_words(text)) {
    if (!out.empty()) out += ' ';
    out += is_id(trim(word, "().,;<>")) ? "*" : word;
  }
  return out;
}

QueueGroups group_messages(GroupBy by, const std::vector<ListedMessage>& messages) {
  QueueGroups out;
  std::map<std::string, QueueGroup> groups;
  for (const ListedMessage& message : messages) {
    count_in(out.total, message);
    for (const auto& name : names_of(by, message)) count_in(groups[name], message);
  }
  for (auto& [name, group] : groups) {
    group.name = name;
    out.groups.push_back(std::move(group));
  }
  std::ranges::sort(out.groups, [](const QueueGroup& a, const QueueGroup& b) {
    return a.messages != b.messages ? a.messages > b.messages : a.name < b.name;
  });
  return out;
}

std::string span_text(std::int64_t seconds) {
  seconds = std::max<std::int64_t>(seconds, 0);
  const auto two = [&](std::int64_t large, std::string_view name, std::int64_t small,
                       std::string_view small_name) {
    const std::int64_t rest = seconds % large / small;
    return rest == 0 ? fmt::format("{} {}", seconds / large, name)
                     : fmt::format("{} {} {} {}", seconds / large, name, rest, small_name);
  };
  if (seconds < 2 * kMinute) return fmt::format("{} s", seconds);
  if (seconds < kHour) return fmt::format("{} min", seconds / kMinute);
  return seconds < 2 * kDay ? two(kHour, "h", kMinute, "min") : two(kDay, "d", kHour, "h");
}

std::string moment_text(std::int64_t when, std::int64_t now) {
  constexpr std::size_t kDateLength = 10;  // "Sun Nov 22"
  const auto text = [](std::int64_t seconds) {
    return mail::format_listing_date(WallTime(std::chrono::seconds(seconds)));
  };
  const std::string moment = text(when);
  const bool is_near = std::max(when, now) - std::min(when, now) < kDay;
  return is_near && moment.starts_with(text(now).substr(0, kDateLength))
             ? moment.substr(kDateLength + 1)
             : moment;
}

std::string size_text(std::uint64_t bytes) {
  constexpr double kThousand = 1000;
  if (bytes < 10'000) return fmt::format("{} bytes", bytes);
  double amount = static_cast<double>(bytes) / kThousand;
  if (amount < kThousand) return fmt::format("{:.1f} kB", amount);
  amount /= kThousand;
  return amount < kThousand ? fmt::format("{:.1f} MB", amount)
                            : fmt::format("{:.1f} GB", amount / kThousand);
}

std::string print_groups(const QueueGroups& groups, std::int64_t now) {
  const QueueGroup& total = groups.total;
  if (total.messages == 0) return "0 messages\n";
  std::string out = fmt::format("{} message{}, {}, oldest {}, next {}\n", total.messages,
                                total.messages == 1 ? "" : "s", size_text(total.bytes),
                                span_text(now - total.oldest), next_text(total, now));
  // Wide enough for what is there, as long as a line of a terminal holds it.
  constexpr std::size_t kWidest = 60;
  std::size_t width = 0;
  std::vector<std::string> names;
  for (const auto& group : groups.groups) {
    names.push_back(log::clean(group.name));
    width = std::max(width, std::min(names.back().size(), kWidest));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const QueueGroup& group = groups.groups[i];
    out += fmt::format("{:>6}  {:<{}}  oldest {}  next {}\n", group.messages, names[i], width,
                       span_text(now - group.oldest), next_text(group, now));
  }
  return out;
}

std::string print_groups_json(GroupBy by, const QueueGroups& groups) {
  const auto object = [](const QueueGroup& group) {
    nlohmann::ordered_json out = {{"messages", group.messages}, {"bytes", group.bytes}};
    if (group.oldest != 0) out["oldest_arrival_time"] = group.oldest;
    if (group.next_attempt != 0) out["next_attempt_time"] = group.next_attempt;
    return out;
  };
  nlohmann::ordered_json out = {{"group_by", group_by_name(by)},
                                {"total", object(groups.total)},
                                {"groups", nlohmann::ordered_json::array()}};
  for (const auto& group : groups.groups) {
    nlohmann::ordered_json entry = {{"name", group.name}};
    entry.update(object(group));
    out["groups"].push_back(std::move(entry));
  }
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace postern::control
