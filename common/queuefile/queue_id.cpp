#include "common/queuefile/queue_id.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace postern::queuefile {

namespace {

constexpr std::string_view kDigits = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
constexpr std::string_view kHex = "0123456789ABCDEF";
constexpr char kSeparator = 'z';
constexpr unsigned kTimeBase = 52;
constexpr unsigned kNumberBase = 51;
static_assert(kDigits.size() == kTimeBase && kDigits.back() == kSeparator);

constexpr std::size_t kSecondsDigits = 6;
constexpr std::size_t kMaxSecondsDigits = 11;  // 2^62 and a little
constexpr std::size_t kMicrosecondsDigits = 4;
constexpr std::size_t kShortMicrosecondsDigits = 5;
constexpr std::int64_t kMicrosecondsPerSecond = 1'000'000;
constexpr std::uint64_t kSecondsMask = 0xFFFFFFF;
constexpr unsigned kSlotBits = 8;

std::string in_base(std::uint64_t number, unsigned base, std::size_t least_digits) {
  std::string text;
  for (; number > 0; number /= base) text += kDigits[number % base];
  while (text.size() < least_digits) text += kDigits.front();
  std::ranges::reverse(text);
  return text;
}

// Would one of the digits of this time be the separator's letter?
bool has_separator_digit(std::int64_t number) {
  constexpr std::int64_t kLastDigit = kTimeBase - 1;
  for (; number > 0; number /= kTimeBase) {
    if (number % kTimeBase == kLastDigit) return true;
  }
  return false;
}

std::uint64_t from_base(std::string_view text, unsigned base) {
  std::uint64_t number = 0;
  for (const char digit : text) number = number * base + kDigits.find(digit);
  return number;
}

struct LongId {
  std::string_view seconds, microseconds, number;
};

std::optional<LongId> split_long(std::string_view id) {
  const std::size_t separator = id.rfind(kSeparator);
  if (separator == std::string_view::npos || separator + 1 == id.size()) return std::nullopt;
  if (separator < kSecondsDigits + kMicrosecondsDigits ||
      separator > kMaxSecondsDigits + kMicrosecondsDigits) {
    return std::nullopt;
  }
  if (id.find_first_not_of(kDigits) != std::string_view::npos) return std::nullopt;
  const std::size_t seconds = separator - kMicrosecondsDigits;
  return LongId{id.substr(0, seconds), id.substr(seconds, kMicrosecondsDigits),
                id.substr(separator + 1)};
}

}  // namespace

QueueIdSource::QueueIdSource(unsigned slot) : slot_(slot) { assert(slot < kIdSlots); }

std::string QueueIdSource::next(std::int64_t now, IdForm form) {
  last_ = std::max(now, last_ + 1);
  // Who looks for the separator from the front is not misled by a digit that looks like it.
  while (form == IdForm::kLong && has_separator_digit(last_ % kMicrosecondsPerSecond)) ++last_;
  const auto seconds = static_cast<std::uint64_t>(last_ / kMicrosecondsPerSecond);
  const auto microseconds = static_cast<std::uint64_t>(last_ % kMicrosecondsPerSecond);
  const std::uint64_t number = (seconds & kSecondsMask) << kSlotBits | slot_;
  if (form == IdForm::kShort) return fmt::format("{:05X}{:X}", microseconds, number);
  return in_base(seconds, kTimeBase, kSecondsDigits) +
         in_base(microseconds, kTimeBase, kMicrosecondsDigits) + kSeparator +
         in_base(number, kNumberBase, 1);
}

bool is_valid_queue_id(std::string_view name) {
  if (name.empty() || name.size() > kMaxQueueId) return false;
  if (name.find_first_not_of(kHex) == std::string_view::npos) {
    return name.size() > kShortMicrosecondsDigits;
  }
  return split_long(name).has_value();
}

std::string hash_key(std::string_view id) {
  const std::optional<LongId> parts = split_long(id);
  if (!parts) return std::string(id.substr(0, kShortMicrosecondsDigits));
  return fmt::format("{:05X}", from_base(parts->microseconds, kTimeBase));
}

std::optional<std::int64_t> id_time(std::string_view id) {
  const std::optional<LongId> parts = split_long(id);
  if (!parts) return std::nullopt;
  return static_cast<std::int64_t>(from_base(parts->seconds, kTimeBase));
}

}  // namespace postern::queuefile
