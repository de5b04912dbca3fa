#include "common/mailauth/batv.h"

#include <fmt/format.h>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mailauth/crypto.h"

namespace postern::mailauth {

namespace {

constexpr std::string_view kTag = "prvs=";
constexpr std::int64_t kSecondsPerDay = 86400;
constexpr std::int64_t kDays = 1000;
constexpr std::size_t kStampSize = 4;
constexpr std::size_t kHashSize = 6;

std::string hash_of(const BatvRules& rules, std::string_view stamp, std::string_view address) {
  return hex_encode(hmac_sha1(rules.key, {stamp, address}).substr(0, kHashSize / 2));
}

}  // namespace

bool is_batv_address(std::string_view address) { return starts_with_nocase(address, kTag); }

std::optional<std::string> batv_plain(std::string_view address) {
  if (!is_batv_address(address)) return std::nullopt;
  const auto [tag, plain] = split_at_first(address.substr(kTag.size()), '=');
  const bool is_tag =
      tag.size() == kStampSize + kHashSize && !plain.empty() && plain.front() != '@';
  return is_tag ? std::optional<std::string>(plain) : std::nullopt;
}

std::string batv_sign(const BatvRules& rules, std::string_view sender, std::int64_t now) {
  if (!mail::split_address(sender).has_domain || is_batv_address(sender))
    return std::string(sender);
  const std::string stamp =
      fmt::format("{}{:03}", rules.key_number % 10, (now / kSecondsPerDay + rules.days) % kDays);
  return fmt::format("{}{}{}={}", kTag, stamp, hash_of(rules, stamp, sender), sender);
}

std::optional<std::string> batv_verify(const BatvRules& rules, std::string_view address,
                                       std::int64_t now) {
  if (!is_batv_address(address)) return std::nullopt;
  const auto [tag, plain] = split_at_first(address.substr(kTag.size()), '=');
  if (tag.size() != kStampSize + kHashSize || plain.empty()) return std::nullopt;
  const std::string_view stamp = tag.substr(0, kStampSize);
  const auto day = parse_integer<std::int64_t>(stamp.substr(1), 0, kDays - 1);
  if (!day || !is_digit(stamp.front())) return std::nullopt;
  if (!equal_secret(to_lower(tag.substr(kStampSize)), hash_of(rules, stamp, plain))) {
    return std::nullopt;
  }
  const std::int64_t left = (*day - (now / kSecondsPerDay) % kDays + kDays) % kDays;
  if (left > rules.days) return std::nullopt;
  return std::string(plain);
}

}  // namespace postern::mailauth
