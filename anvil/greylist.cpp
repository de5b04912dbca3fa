#include "anvil/greylist.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/networks.h"

namespace postern::anvil {

namespace {

using Verdict = ipc::anvil::GreylistVerdict;

constexpr unsigned kIpv4Prefix = 24;
constexpr unsigned kIpv6Prefix = 64;
constexpr std::size_t kMaxAddress = 512;  // RFC 5321 4.5.3.1 allows 320
// A network earns at most one pass in that time: one burst of mail makes no friend.
constexpr std::int64_t kPassEvery = 3600;
// How much longer an entry must live before the file is told.
constexpr std::int64_t kNotable = 3600;
constexpr std::size_t kHistory = 10'000;

std::optional<std::string> network_of(std::string_view client) {
  const auto address = config::parse_ip_address(client);
  if (!address) return std::nullopt;
  return config::to_string(
      config::network_of(*address, address->is_v6 ? kIpv6Prefix : kIpv4Prefix));
}

std::string normal_sender(std::string_view sender) {
  const std::string lower = to_lower(sender.substr(0, kMaxAddress));
  const auto at = std::min(lower.rfind('@'), lower.size());
  std::string_view local = std::string_view(lower).substr(0, at);
  if (const auto plus = local.find('+'); plus != std::string_view::npos && plus > 0) {
    local = local.substr(0, plus);
  }
  std::string normal;
  for (const char c : local) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit) {
      normal += c;
    } else if (!normal.ends_with('#')) {
      normal += '#';
    }
  }
  return normal + lower.substr(at);
}

std::string key_of(const std::string& network, const ipc::anvil::Greylist& question) {
  return fmt::format("{} <{}> <{}>", network, xtext_encode(normal_sender(question.sender)),
                     xtext_encode(to_lower(question.recipient.substr(0, kMaxAddress))));
}

std::string address_of(std::string_view word) {
  if (word.size() < 2) return {};
  return xtext_decode(word.substr(1, word.size() - 2)).value_or("");
}

}  // namespace

std::string Greylist::print(const std::string& key, const Triplet& triplet) {
  return fmt::format("triplet {} {} {} {}", key, triplet.first, triplet.until,
                     triplet.has_passed ? 1 : 0);
}

std::string Greylist::print(const std::string& network, const Network& entry) {
  return fmt::format("network {} {} {} {} {}", network, entry.passes, entry.last, entry.until,
                     entry.is_allowed ? 1 : 0);
}

Result<void> Greylist::load(std::int64_t now) {
  TRY(const auto lines, file_.read());
  const auto time = [](std::string_view word) {
    return parse_integer<std::int64_t>(word, 0).value_or(0);
  };
  for (const auto& line : lines) {
    const auto words = split_words(line, " ");
    if (words.size() == 7 && words[0] == "triplet" && config::parse_ip_address(words[1])) {
      const std::string key = fmt::format("{} {} {}", words[1], words[2], words[3]);
      const Triplet triplet{time(words[4]), time(words[5]), words[6] == "1"};
      triplets_.erase(key);
      if (triplet.until > now && triplets_.size() < kMaxTriplets) triplets_.emplace(key, triplet);
    } else if (words.size() == 6 && words[0] == "network" && config::parse_ip_address(words[1])) {
      const Network entry{time(words[2]), time(words[3]), time(words[4]), words[5] == "1"};
      networks_.erase(std::string(words[1]));
      if ((entry.until > now || entry.is_allowed) && networks_.size() < kMaxNetworks) {
        networks_.emplace(words[1], entry);
      }
    }
  }
  return {};
}

ipc::anvil::Greylisted Greylist::judge(const ipc::anvil::Greylist& question, std::int64_t now,
                                       Result<void>& kept) {
  ipc::anvil::Greylisted answer;
  kept = {};
  const auto network = network_of(question.client);
  if (!network) return answer;  // kNew, for what is no address

  if (const auto known = networks_.find(*network); known != networks_.end()) {
    Network& entry = known->second;
    const bool is_earned = question.auto_allow_clients > 0 &&
                           entry.passes >= question.auto_allow_clients && entry.until > now;
    if (entry.is_allowed || is_earned) {
      answer.verdict = entry.is_allowed ? Verdict::kAllowed : Verdict::kAutoAllowed;
      if (question.is_asked_only) return answer;
      const bool is_news = entry.until < now + question.lifetime - kNotable;
      entry.until = now + question.lifetime;
      if (is_news) kept = file_.append(print(*network, entry));
      ++counts_.passed;
      return answer;
    }
  }

  const std::string key = key_of(*network, question);
  auto found = triplets_.find(key);
  if (found == triplets_.end() || found->second.until <= now) {
    answer.seconds = question.delay;
    if (question.is_asked_only) return answer;
    if (found == triplets_.end()) make_room(now);
    const Triplet triplet{now, now + question.window, false};
    triplets_.insert_or_assign(key, triplet);
    kept = file_.append(print(key, triplet));
    ++counts_.greylisted;
    return answer;
  }
  Triplet& triplet = found->second;
  if (!triplet.has_passed && now - triplet.first < question.delay) {
    answer.verdict = Verdict::kEarly;
    answer.seconds = question.delay - (now - triplet.first);
    if (!question.is_asked_only) ++counts_.greylisted;
    return answer;
  }
  answer.verdict = triplet.has_passed ? Verdict::kKnown : Verdict::kDelayed;
  answer.seconds = now - triplet.first;
  if (question.is_asked_only) return answer;
  ++counts_.passed;
  const bool is_news = !triplet.has_passed || triplet.until < now + question.lifetime - kNotable;
  triplet.until = now + question.lifetime;
  if (!triplet.has_passed) {
    triplet.has_passed = true;
    if (networks_.size() < kMaxNetworks || networks_.contains(*network)) {
      Network& entry = networks_[*network];
      if (entry.until <= now) entry.passes = 0;
      if (entry.passes == 0 || entry.last + kPassEvery <= now) {
        ++entry.passes;
        entry.last = now;
      }
      entry.until = now + question.lifetime;
      kept = file_.append(print(*network, entry));
    }
  }
  if (const auto written = is_news ? file_.append(print(key, triplet)) : Result<void>{}; !written) {
    kept = written;
  }
  return answer;
}

void Greylist::make_room(std::int64_t now) {
  if (triplets_.size() < kMaxTriplets) return;
  std::erase_if(triplets_, [&](const auto& entry) { return entry.second.until <= now; });
  if (triplets_.size() < kMaxTriplets) return;
  std::erase_if(triplets_, [](const auto& entry) { return !entry.second.has_passed; });
  if (triplets_.size() >= kMaxTriplets) triplets_.clear();
}

std::optional<std::string> Greylist::allow(const std::string& client, std::int64_t now) {
  auto network = network_of(client);
  if (!network || (networks_.size() >= kMaxNetworks && !networks_.contains(*network))) {
    return std::nullopt;
  }
  Network& entry = networks_[*network];
  entry.is_allowed = true;
  entry.last = now;
  if (!rewrite()) return std::nullopt;
  return network;
}

std::optional<std::string> Greylist::disallow(const std::string& client) {
  auto network = network_of(client);
  if (!network || networks_.erase(*network) == 0) return std::nullopt;
  if (!rewrite()) return std::nullopt;
  return network;
}

ipc::anvil::GreylistPage Greylist::list(const std::string& after, std::size_t limit,
                                        std::int64_t now) const {
  ipc::anvil::GreylistPage page;
  if (after.empty()) {
    for (const auto& [network, entry] : networks_) {
      if (entry.until <= now && !entry.is_allowed) continue;
      ipc::anvil::GreylistEntry& shown = page.entries.emplace_back();
      shown.client = network;
      shown.is_network = true;
      shown.has_passed = entry.is_allowed;
      shown.passes = entry.passes;
      shown.first = entry.last;
      shown.until = entry.is_allowed ? 0 : entry.until;
      if (page.entries.size() >= limit) break;
    }
  }
  std::size_t seen = 0;
  for (auto it = triplets_.upper_bound(after); it != triplets_.end(); ++it) {
    if (++seen > limit) return page;
    page.next = it->first;
    if (it->second.until <= now) continue;
    const auto words = split_words(it->first, " ");
    if (words.size() != 3) continue;
    ipc::anvil::GreylistEntry& shown = page.entries.emplace_back();
    shown.client = words[0];
    shown.sender = address_of(words[1]);
    shown.recipient = address_of(words[2]);
    shown.has_passed = it->second.has_passed;
    shown.first = it->second.first;
    shown.until = it->second.until;
  }
  page.next.clear();
  return page;
}

ipc::anvil::GreylistStatistics Greylist::statistics(std::int64_t now) const {
  ipc::anvil::GreylistStatistics result = counts_;
  for (const auto& [key, triplet] : triplets_) {
    if (triplet.until <= now) continue;
    ++(triplet.has_passed ? result.known : result.waiting);
  }
  for (const auto& [network, entry] : networks_) {
    if (entry.until > now || entry.is_allowed) ++result.networks;
  }
  return result;
}

Result<void> Greylist::clean(std::int64_t now) {
  std::erase_if(triplets_, [&](const auto& entry) { return entry.second.until <= now; });
  std::erase_if(networks_, [&](const auto& entry) {
    return entry.second.until <= now && !entry.second.is_allowed;
  });
  if (file_.appended() < kHistory + triplets_.size()) return {};
  return rewrite();
}

Result<void> Greylist::rewrite() {
  std::vector<std::string> lines;
  lines.reserve(triplets_.size() + networks_.size());
  for (const auto& [network, entry] : networks_) lines.push_back(print(network, entry));
  for (const auto& [key, triplet] : triplets_) lines.push_back(print(key, triplet));
  return file_.replace(lines);
}

}  // namespace postern::anvil
