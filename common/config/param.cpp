#include "common/config/param.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/expand.h"

namespace postern::config {

namespace {

std::unexpected<Error> bad(std::string text) { return fail(Error::Kind::kConfig, std::move(text)); }

struct Minimum {
  std::string_view name;
  std::int64_t low;
};
constexpr std::int64_t kMaxCount = std::numeric_limits<std::int32_t>::max();

// Where 0 makes no sense, or less than 0 does.
constexpr Minimum kMinimums[] = {
    {"default_delivery_slot_discount", 0},
    {"default_destination_concurrency_failed_cohort_limit", 0},
    {"default_process_limit", 1},
    {"delay_logging_resolution_limit", 0},
    {"deliver_lock_attempts", 1},
    {"fork_attempts", 1},
    {"hopcount_limit", 1},
    {"initial_destination_concurrency", 1},
    {"postscreen_dnsbl_allowlist_threshold", -kMaxCount},
    {"postscreen_dnsbl_whitelist_threshold", -kMaxCount},
    {"qmgr_message_active_limit", 1},
    {"qmgr_message_recipient_limit", 1},
    {"qmgr_message_recipient_minimum", 1},
    {"service_workers", 1},
    {"sessions_per_process", 1},
    {"smtpd_hard_error_limit", 1},
    {"smtpd_junk_command_limit", 1},
    {"smtpd_recipient_limit", 1},
    {"smtpd_recipient_overshoot_limit", 1},
    {"smtpd_session_limit", 1},
    {"smtpd_soft_error_limit", 1},
    {"virtual_alias_expansion_limit", 1},
    {"virtual_alias_recursion_limit", 1},
    {"virtual_minimum_uid", 1},
};

struct ChoiceInfo {
  std::string_view name, words;
};
constexpr ChoiceInfo kChoices[] = {
#define CHOICE(name, words) {#name, words},
#include "common/config/params/choices.def"
#undef CHOICE
};

// The longest suffix first, where one ends another.
constexpr TransportParam kTransportParams[] = {
    {"", "_destination_concurrency_failed_cohort_limit",
     "default_destination_concurrency_failed_cohort_limit", ParamType::kCount},
    {"", "_destination_concurrency_positive_feedback",
     "default_destination_concurrency_positive_feedback", ParamType::kText},
    {"", "_destination_concurrency_negative_feedback",
     "default_destination_concurrency_negative_feedback", ParamType::kText},
    {"", "_initial_destination_concurrency", "initial_destination_concurrency", ParamType::kCount},
    {"", "_destination_concurrency_limit", "default_destination_concurrency_limit",
     ParamType::kCount},
    {"", "_destination_recipient_limit", "default_destination_recipient_limit", ParamType::kCount},
    {"", "_destination_rate_delay", "default_destination_rate_delay", ParamType::kDuration},
    {"", "_transport_rate_delay", "default_transport_rate_delay", ParamType::kDuration},
    {"", "_extra_recipient_limit", "default_extra_recipient_limit", ParamType::kCount},
    {"", "_recipient_refill_limit", "default_recipient_refill_limit", ParamType::kCount},
    {"", "_recipient_refill_delay", "default_recipient_refill_delay", ParamType::kDuration},
    {"", "_delivery_slot_discount", "default_delivery_slot_discount", ParamType::kCount},
    {"", "_delivery_slot_cost", "default_delivery_slot_cost", ParamType::kCount},
    {"", "_delivery_slot_loan", "default_delivery_slot_loan", ParamType::kCount},
    {"", "_minimum_delivery_slots", "default_minimum_delivery_slots", ParamType::kCount},
    {"", "_recipient_limit", "default_recipient_limit", ParamType::kCount},
    {"", "_time_limit", "command_time_limit", ParamType::kDuration},
};

// The seconds of a unit; 0 for a letter that is none.
std::int64_t seconds_in(char unit) {
  switch (unit) {
    case 's':
      return 1;
    case 'm':
      return 60;
    case 'h':
      return 3600;
    case 'd':
      return 86'400;
    case 'w':
      return 604'800;
    default:
      return 0;
  }
}

}  // namespace

std::optional<TransportParam> find_transport_suffix(std::string_view suffix) {
  for (const TransportParam& entry : kTransportParams) {
    if (suffix == entry.suffix) return entry;
  }
  return std::nullopt;
}

std::optional<TransportParam> parse_transport_param(std::string_view name) {
  for (const TransportParam& entry : kTransportParams) {
    if (name.size() > entry.suffix.size() && name.ends_with(entry.suffix)) {
      TransportParam found = entry;
      found.transport = name.substr(0, name.size() - entry.suffix.size());
      return found;
    }
  }
  return std::nullopt;
}

std::string_view choices_of(std::string_view name) {
  for (const ChoiceInfo& choice : kChoices) {
    if (choice.name == name) return choice.words;
  }
  return "";
}

Result<bool> parse_bool(std::string_view text) {
  if (equal_nocase(text, "yes")) return true;
  if (equal_nocase(text, "no")) return false;
  return bad(fmt::format("bad boolean value \"{:.60}\": yes or no expected", text));
}

Result<std::int64_t> parse_count(std::string_view text, std::string_view name) {
  const auto* const minimum = std::ranges::find(kMinimums, name, &Minimum::name);
  const std::int64_t low = minimum == std::end(kMinimums) ? 0 : minimum->low;
  const auto value = parse_integer<std::int64_t>(text);
  if (!value) return bad(fmt::format("bad numerical value \"{:.60}\"", text));
  if (*value < low) return bad(fmt::format("{} is less than the smallest value {}", *value, low));
  if (*value > kMaxCount) {
    return bad(fmt::format("{} is more than the largest value {}", *value, kMaxCount));
  }
  return *value;
}

Result<std::int64_t> parse_size(std::string_view text) {
  std::string_view digits = text;
  std::int64_t factor = 1;
  if (!digits.empty()) {
    switch (to_lower(digits.back())) {
      case 'k':
        factor = std::int64_t{1} << 10;
        break;
      case 'm':
        factor = std::int64_t{1} << 20;
        break;
      case 'g':
        factor = std::int64_t{1} << 30;
        break;
      default:
        break;
    }
    if (factor != 1) digits.remove_suffix(1);
  }
  const auto number = parse_integer<std::int64_t>(digits, 0);
  const auto value = number ? checked_multiply(*number, factor) : std::nullopt;
  if (!value) return bad(fmt::format("bad size \"{:.60}\": a number of bytes expected", text));
  return *value;
}

Result<std::chrono::seconds> parse_duration(std::string_view text, char unit) {
  std::string_view digits = text;
  if (!digits.empty() && is_alpha(digits.back())) {
    unit = to_lower(digits.back());
    digits.remove_suffix(1);
  }
  const auto number = parse_integer<std::int64_t>(digits, 0, kMaxCount);
  const auto value = number ? checked_multiply(*number, seconds_in(unit)) : std::nullopt;
  if (!value || seconds_in(unit) == 0 || *value > kMaxCount) {
    return bad(fmt::format("bad time \"{:.60}\": a number and s, m, h, d or w expected", text));
  }
  return std::chrono::seconds(*value);
}

char duration_unit(std::string_view initial) {
  return !initial.empty() && seconds_in(initial.back()) != 0 && initial.size() >= 2 &&
                 (is_digit(initial[initial.size() - 2]) || initial[initial.size() - 2] == '}')
             ? initial.back()
             : 's';
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> list;
  for (std::string_view word = next_word_braced(text); !word.empty();
       word = next_word_braced(text)) {
    list.emplace_back(word);
  }
  return list;
}

std::optional<std::string> find_fault(const ParamInfo& param, std::string_view text) {
  const auto fault_of = [](const auto& result) -> std::optional<std::string> {
    if (result) return std::nullopt;
    return result.error().text;
  };
  // Where nothing is the default, nothing is a value.
  if (text.empty() && param.initial.empty()) return std::nullopt;
  switch (param.type) {
    case ParamType::kBool:
      return fault_of(parse_bool(text));
    case ParamType::kCount:
      return fault_of(parse_count(text, param.name));
    case ParamType::kSize:
      return fault_of(parse_size(text));
    case ParamType::kDuration:
      return fault_of(parse_duration(text, duration_unit(param.initial)));
    case ParamType::kChoice: {
      const std::string_view words = choices_of(param.name);
      if (words.empty()) return std::nullopt;
      for (const std::string_view word : split_words(words)) {
        if (equal_nocase(word, text)) return std::nullopt;
      }
      return fmt::format("bad value \"{:.60}\": one of these expected: {}", text, words);
    }
    case ParamType::kText:
    case ParamType::kRawText:
    case ParamType::kSecret:
    case ParamType::kList:
    case ParamType::kNetworks:
    case ParamType::kTables:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace postern::config
