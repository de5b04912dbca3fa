#include "anvil/bans.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/networks.h"

namespace postern::anvil {

Result<void> Bans::load(std::int64_t now) {
  TRY(const auto lines, file_.read());
  for (const auto& line : lines) {
    const auto words = split_words(line, " ");
    if (words.size() != 2 || !config::parse_ip_address(words[0])) continue;
    const auto until = parse_integer<std::int64_t>(words[1], 0);
    if (until && *until > now && bans_.size() < kMaxBans) {
      bans_.insert_or_assign(std::string(words[0]), *until);
    }
  }
  return {};
}

bool Bans::note(const ipc::anvil::Offence& offence, std::int64_t now) {
  const bool is_auth = offence.kind == ipc::anvil::OffenceKind::kAuthFailure;
  const std::int64_t limit = is_auth ? rules_.auth_failures : rules_.rejects;
  if (limit <= 0 || !config::parse_ip_address(offence.client)) return false;
  if (offenders_.size() >= kMaxOffenders && !offenders_.contains(offence.client)) {
    (void)expire(now);
    if (offenders_.size() >= kMaxOffenders) offenders_.clear();
  }
  Offender& offender = offenders_[offence.client];
  auto& times = is_auth ? offender.auth_failures : offender.rejects;
  times.push_back(now);
  while (!times.empty() && times.front() <= now - rules_.window) times.pop_front();
  if (static_cast<std::int64_t>(times.size()) < limit) return false;
  offenders_.erase(offence.client);
  return add(offence.client, now, 0);
}

bool Bans::add(const std::string& client, std::int64_t now, std::int64_t until) {
  const auto address = config::parse_ip_address(client);
  if (!address) return false;
  const std::string name = config::to_string(*address);
  if (bans_.size() >= kMaxBans && !bans_.contains(name)) {
    (void)expire(now);
    if (bans_.size() >= kMaxBans) return false;
  }
  bans_.insert_or_assign(name, until > 0 ? until : now + rules_.time);
  return true;
}

bool Bans::remove(const std::string& client) {
  const auto address = config::parse_ip_address(client);
  return address && bans_.erase(config::to_string(*address)) > 0;
}

ipc::anvil::BanList Bans::list(std::int64_t now) {
  (void)expire(now);
  ipc::anvil::BanList result;
  for (const auto& [client, until] : bans_) result.bans.push_back({client, until});
  std::sort(result.bans.begin(), result.bans.end(),
            [](const auto& a, const auto& b) { return a.client < b.client; });
  return result;
}

bool Bans::expire(std::int64_t now) {
  std::erase_if(offenders_, [&](const auto& entry) {
    const auto is_old = [&](const std::deque<std::int64_t>& times) {
      return times.empty() || times.back() <= now - rules_.window;
    };
    return is_old(entry.second.auth_failures) && is_old(entry.second.rejects);
  });
  return std::erase_if(bans_, [&](const auto& entry) { return entry.second <= now; }) > 0;
}

Result<void> Bans::save() {
  std::vector<std::string> lines;
  lines.reserve(bans_.size());
  for (const auto& [client, until] : bans_) lines.push_back(fmt::format("{} {}", client, until));
  return file_.replace(lines);
}

}  // namespace postern::anvil
