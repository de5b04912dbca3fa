#include "postern-milter/greylist.h"

#include <fmt/format.h>

#include "common/base/text.h"

namespace postern::milterd {

Greylist::Time Greylist::ask(const dns::Address& client, std::string_view sender,
                             std::string_view recipient, Time now) {
  constexpr std::size_t kNetwork4 = 3;
  constexpr std::size_t kNetwork6 = 8;
  std::string key(client.is_ipv6 ? "6" : "4");
  for (std::size_t i = 0; i < (client.is_ipv6 ? kNetwork6 : kNetwork4); ++i) {
    key += static_cast<char>(client.bytes[i]);
  }
  key += fmt::format("{}\n{}", to_lower(sender), to_lower(recipient));
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kMaxEntries) forget_old(now);
  // A flood of strangers is let in rather than remembered.
  if (entries_.size() >= kMaxEntries) return Time{0};
  const auto [place, is_new] = entries_.try_emplace(std::move(key), Entry{now, now, false});
  Entry& entry = place->second;
  const Time kept = entry.has_passed ? kLifetime : kWindow;
  if (!is_new && now - entry.last > kept) entry = {now, now, false};
  entry.last = now;
  if (!entry.has_passed && now - entry.first < delay_) return delay_ - (now - entry.first);
  entry.has_passed = true;
  return Time{0};
}

void Greylist::forget_old(Time now) {
  std::erase_if(entries_, [&](const auto& item) {
    const Entry& entry = item.second;
    return now - entry.last > (entry.has_passed ? kLifetime : kWindow);
  });
}

}  // namespace postern::milterd
