#include "verify/record.h"

#include <fmt/format.h>

#include "common/base/number.h"
#include "common/log/clean.h"

namespace postern::verify {

std::string print_record(const Record& record) {
  return fmt::format("{}:{}:{}:{}", static_cast<int>(record.status), record.probed, record.updated,
                     record.text);
}

std::optional<Record> parse_record(std::string_view text) {
  Record record;
  std::int64_t numbers[3] = {};
  for (auto& number : numbers) {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto parsed = parse_integer<std::int64_t>(text.substr(0, colon));
    if (!parsed || *parsed < 0) return std::nullopt;
    number = *parsed;
    text.remove_prefix(colon + 1);
  }
  if (numbers[0] > static_cast<std::int64_t>(Status::kUnsure) || text.size() > kMaxText) {
    return std::nullopt;
  }
  record.status = static_cast<Status>(numbers[0]);
  record.probed = numbers[1];
  record.updated = numbers[2];
  record.text = text;
  return record;
}

bool is_valid(const Record& record, const Rules& rules, std::int64_t now) {
  if (record.status == Status::kUnknown) return false;
  const auto life = record.status == Status::kGood ? rules.positive_expire : rules.negative_expire;
  return now - record.updated < life.count();
}

bool is_probe_due(const Record& record, const Rules& rules, std::int64_t now) {
  if (record.probed != 0 && now - record.probed < kProbeTime.count()) return false;
  if (!is_valid(record, rules, now)) return true;
  const auto fresh =
      record.status == Status::kGood ? rules.positive_refresh : rules.negative_refresh;
  return now - record.updated >= fresh.count();
}

Record updated(const Record& old, Status status, std::string_view text, const Rules& rules,
               std::int64_t now) {
  Record record = old;
  record.probed = 0;
  if (status != Status::kGood && old.status == Status::kGood && is_valid(old, rules, now)) {
    return record;
  }
  record.status = status;
  record.updated = now;
  record.text = log::clean(text, kMaxText);
  if (record.text.size() > kMaxText) record.text.resize(kMaxText);
  return record;
}

}  // namespace postern::verify
