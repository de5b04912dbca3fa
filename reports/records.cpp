#include "reports/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::reports {

namespace {

constexpr std::size_t kMaxText = 500;
constexpr std::size_t kMaxTexts = 50;
constexpr std::size_t kMaxSignatures = 20;

std::string cut(std::string_view text) { return std::string(text.substr(0, kMaxText)); }

std::vector<std::string> cut(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  for (const auto& text : texts) {
    if (out.size() < kMaxTexts) out.push_back(cut(text));
  }
  return out;
}

bool is_same(const tls::TlsReportFailure& known, const ipc::reports::TlsResult& result) {
  return known.type == result.failure && known.mx_host == result.mx_host &&
         known.mx_address == result.mx_address && known.sending_address == result.own_address &&
         known.mx_helo == result.mx_helo;
}

bool is_same(const ipc::reports::DmarcResult& a, const ipc::reports::DmarcResult& b) {
  return a.source == b.source && a.disposition == b.disposition &&
         a.is_dkim_aligned == b.is_dkim_aligned && a.is_spf_aligned == b.is_spf_aligned &&
         a.reason == b.reason && a.comment == b.comment && a.header_from == b.header_from &&
         a.envelope_from == b.envelope_from && a.dkim == b.dkim && a.spf_domain == b.spf_domain &&
         a.spf_scope == b.spf_scope && a.spf_result == b.spf_result;
}

template <typename List, typename Count>
std::uint64_t sum_of(const List& list, Count count) {
  std::uint64_t sum = 0;
  for (const auto& each : list) sum += count(each);
  return sum;
}

}  // namespace

void TlsDay::add(const ipc::reports::TlsResult& result) {
  tls::TlsReportPolicy wanted{.type = cut(result.policy_type),
                              .strings = cut(result.policy_strings),
                              .domain = cut(result.policy_domain),
                              .mx_patterns = cut(result.mx_patterns)};
  auto policy = std::ranges::find_if(policies, [&](const tls::TlsReportPolicy& known) {
    return known.type == wanted.type && known.strings == wanted.strings &&
           known.domain == wanted.domain && known.mx_patterns == wanted.mx_patterns;
  });
  if (policy == policies.end()) {
    if (policies.size() >= kMaxPolicies) return;
    policies.push_back(std::move(wanted));
    policy = std::prev(policies.end());
  }
  if (result.failure.empty()) {
    ++policy->successes;
    return;
  }
  ++policy->failures;
  const auto known = std::ranges::find_if(
      policy->details, [&](const tls::TlsReportFailure& each) { return is_same(each, result); });
  if (known != policy->details.end()) {
    ++known->count;
  } else if (policy->details.size() < kMaxFailures) {
    policy->details.push_back({.type = cut(result.failure),
                               .sending_address = cut(result.own_address),
                               .mx_host = cut(result.mx_host),
                               .mx_helo = cut(result.mx_helo),
                               .mx_address = cut(result.mx_address),
                               .count = 1,
                               .detail = cut(result.detail)});
  }
}

std::uint64_t TlsDay::good() const {
  return sum_of(policies, [](const auto& policy) { return policy.successes; });
}

std::uint64_t TlsDay::bad() const {
  return sum_of(policies, [](const auto& policy) { return policy.failures; });
}

std::vector<std::string> TlsDay::remarks() const {
  std::vector<std::string> out;
  for (const auto& policy : policies) {
    std::map<std::string, std::uint64_t> counts;
    for (const auto& failure : policy.details) counts[failure.type] += failure.count;
    std::string text = policy.type;
    for (const auto& [type, count] : counts) text += fmt::format(", {} {}", count, type);
    out.push_back(std::move(text));
  }
  return out;
}

void DmarcDay::add(ipc::reports::DmarcResult result) {
  published = std::move(result.published);
  result.published = {};
  result.domain.clear();
  if (result.dkim.size() > kMaxSignatures) result.dkim.resize(kMaxSignatures);
  const auto known =
      std::ranges::find_if(rows, [&](const DmarcRow& row) { return is_same(row.result, result); });
  if (known != rows.end()) {
    ++known->count;
  } else if (rows.size() < kMaxRows) {
    rows.push_back({std::move(result), 1});
  } else {
    ++left_out;
  }
}

std::uint64_t DmarcDay::good() const {
  return sum_of(rows, [](const DmarcRow& row) {
    return row.result.is_dkim_aligned || row.result.is_spf_aligned ? row.count : 0;
  });
}

std::uint64_t DmarcDay::bad() const {
  return sum_of(rows, [](const DmarcRow& row) {
    return row.result.is_dkim_aligned || row.result.is_spf_aligned ? 0 : row.count;
  });
}

std::vector<std::string> DmarcDay::remarks() const {
  std::map<std::string, std::uint64_t> counts;
  for (const auto& row : rows) counts[row.result.disposition] += row.count;
  std::vector<std::string> out;
  for (const auto& [disposition, count] : counts) {
    out.push_back(fmt::format("{} {}", count, disposition));
  }
  if (left_out > 0) out.push_back(fmt::format("{} left out", left_out));
  return out;
}

std::string day_of(std::int64_t seconds) {
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(time));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::int64_t start_of(const std::string& day) {
  const auto parts = split_fields(day, '-');
  if (parts.size() != 3) return 0;
  const auto year = parse_integer<int>(parts[0], 1970, 9999);
  const auto month = parse_integer<unsigned>(parts[1], 1, 12);
  const auto number = parse_integer<unsigned>(parts[2], 1, 31);
  if (!year || !month || !number) return 0;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(*month),
                                         std::chrono::day(*number)};
  return std::chrono::sys_seconds(std::chrono::sys_days(date)).time_since_epoch().count();
}

std::int64_t due_time(const std::string& day, const std::string& domain,
                      std::chrono::seconds spread) {
  const std::int64_t range = std::clamp<std::int64_t>(spread.count(), 1, kDaySeconds / 2);
  const auto part =
      static_cast<std::int64_t>(std::hash<std::string>{}(domain) % static_cast<std::size_t>(range));
  return start_of(day) + kDaySeconds + part;
}

}  // namespace postern::reports
