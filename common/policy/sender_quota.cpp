#include "common/policy/sender_quota.h"

#include <fmt/format.h>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::policy {

namespace {

constexpr std::int64_t kMaxRecipients = 1'000'000'000;

}  // namespace

Result<SenderQuota> parse_sender_quota(std::string_view text) {
  SenderQuota quota;
  const auto words = split_words(text);
  if (words.size() == 1 && equal_nocase(words[0], "none")) return quota;
  const auto wrong = [](std::string_view what) {
    return fail(Error::Kind::kConfig,
                fmt::format("bad quota \"{:.80}\": 100/hour, 500/day or none expected", what));
  };
  if (words.empty()) return wrong(text);
  for (const auto word : words) {
    const auto [number, unit] = split_at_first(word, '/');
    const auto limit = parse_integer<std::int64_t>(number, 1, kMaxRecipients);
    if (!limit) return wrong(word);
    const bool is_hour = equal_nocase(unit, "hour");
    if (!is_hour && !equal_nocase(unit, "day")) return wrong(word);
    std::int64_t& place = is_hour ? quota.per_hour : quota.per_day;
    if (place != 0) return wrong(text);
    place = *limit;
  }
  return quota;
}

std::optional<SenderQuota> read_sender_quota(const config::Values& values,
                                             config::Problems& problems) {
  const std::string text = values.text("smtpd_sender_quota");
  if (text.empty()) return SenderQuota{};
  auto quota = parse_sender_quota(text);
  if (quota) return *quota;
  problems.push_back(values.problem("smtpd_sender_quota", quota.error().text));
  return std::nullopt;
}

}  // namespace postern::policy
