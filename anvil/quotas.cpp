#include "anvil/quotas.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::anvil {

namespace {

using Verdict = ipc::anvil::QuotaVerdict;

constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kDay = 24 * kHour;
// Lines behind those that count, before the file is written anew.
constexpr std::size_t kHistory = 10'000;

}  // namespace

std::string Quotas::print(const std::string& sender, const Counts& counts) {
  return fmt::format("<{}> {} {} {} {}", xtext_encode(sender), counts.hour, counts.in_hour,
                     counts.day, counts.in_day);
}

Result<void> Quotas::load(std::int64_t now) {
  TRY(const auto lines, file_.read());
  for (const auto& line : lines) {
    const auto words = split_words(line, " ");
    if (words.size() != 5 || !words[0].starts_with('<') || !words[0].ends_with('>')) continue;
    auto sender = xtext_decode(words[0].substr(1, words[0].size() - 2));
    const auto hour = parse_integer<std::int64_t>(words[1], 0);
    const auto in_hour = parse_integer<std::int64_t>(words[2], 0);
    const auto day = parse_integer<std::int64_t>(words[3], 0);
    const auto in_day = parse_integer<std::int64_t>(words[4], 0);
    if (!sender || sender->empty() || sender->size() > kMaxName) continue;
    if (!hour || !in_hour || !day || !in_day || *day != now / kDay) continue;
    if (senders_.size() >= kMaxSenders && !senders_.contains(*sender)) continue;
    senders_.insert_or_assign(*std::move(sender), Counts{*hour, *in_hour, *day, *in_day});
  }
  return {};
}

Verdict Quotas::count(const ipc::anvil::Quota& question, std::int64_t now, Result<void>& kept) {
  const std::string sender = question.sender.substr(0, kMaxName);
  if (senders_.size() >= kMaxSenders && !senders_.contains(sender)) {
    forget_old(now);
    if (senders_.size() >= kMaxSenders) return Verdict::kWithin;
  }
  Counts& counts = senders_[sender];
  if (counts.hour != now / kHour) {
    counts.hour = now / kHour;
    counts.in_hour = 0;
  }
  if (counts.day != now / kDay) {
    counts.day = now / kDay;
    counts.in_day = 0;
  }
  Verdict verdict = Verdict::kWithin;
  if (question.per_hour > 0 && counts.in_hour >= question.per_hour) verdict = Verdict::kOverHour;
  if (question.per_day > 0 && counts.in_day >= question.per_day) verdict = Verdict::kOverDay;
  if (verdict != Verdict::kWithin && !question.is_accepted_over) return verdict;
  ++counts.in_hour;
  ++counts.in_day;
  kept = file_.append(print(sender, counts));
  return verdict;
}

ipc::anvil::QuotaPage Quotas::list(const std::string& after, std::size_t limit,
                                   std::int64_t now) const {
  std::vector<const std::string*> names;
  for (const auto& [sender, counts] : senders_) {
    if (counts.day == now / kDay && sender > after) names.push_back(&sender);
  }
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(limit, names.size()));
  const auto by_name = [](const std::string* a, const std::string* b) { return *a < *b; };
  std::ranges::partial_sort(names, end, by_name);
  ipc::anvil::QuotaPage page;
  for (auto it = names.begin(); it != end; ++it) {
    const Counts& counts = senders_.find(**it)->second;
    page.counts.push_back({**it, counts.hour == now / kHour ? counts.in_hour : 0, counts.in_day});
  }
  if (end != names.end()) page.next = page.counts.back().sender;
  return page;
}

Result<bool> Quotas::reset(const std::string& sender) {
  if (sender.empty()) {
    senders_.clear();
  } else if (senders_.erase(sender) == 0) {
    return false;
  }
  if (const auto written = rewrite(); !written) return std::unexpected(written.error());
  return true;
}

void Quotas::forget_old(std::int64_t now) {
  // The hour is part of the day.
  std::erase_if(senders_, [&](const auto& entry) { return entry.second.day != now / kDay; });
}

Result<void> Quotas::clean(std::int64_t now) {
  forget_old(now);
  if (file_.appended() < kHistory + senders_.size()) return {};
  return rewrite();
}

Result<void> Quotas::rewrite() {
  std::vector<std::string> lines;
  lines.reserve(senders_.size());
  for (const auto& [sender, counts] : senders_) lines.push_back(print(sender, counts));
  return file_.replace(lines);
}

}  // namespace postern::anvil
