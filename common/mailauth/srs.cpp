#include "common/mailauth/srs.h"

#include <algorithm>
#include <optional>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mailauth/crypto.h"

namespace postern::mailauth {

namespace {

constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::string_view kSeparators = "=+-";
constexpr std::int64_t kSecondsPerDay = 86400;
constexpr std::int64_t kDays = 1024;  // two digits of base32
constexpr std::size_t kMaxAddress = 512;
constexpr char kInner = '=';

std::unexpected<Error> refuse(std::string_view why) {
  return fail(Error::Kind::kPermanent, std::string(why));
}

// What the hash is made of is folded to lower case: hosts on the way may do so.
std::string hash_of(std::string_view secret, std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const auto part : parts) text += part;
  make_lower(text);
  return base64_encode(hmac_sha1(secret, {text}));
}

std::string make_hash(const SrsRules& rules, std::initializer_list<std::string_view> parts) {
  return hash_of(rules.secrets.front(), parts).substr(0, rules.hash_length);
}

bool is_good_hash(const SrsRules& rules, std::string_view hash,
                  std::initializer_list<std::string_view> parts) {
  if (hash.size() < rules.hash_length) return false;
  return std::ranges::any_of(rules.secrets, [&](const std::string& secret) {
    const std::string whole = to_lower(hash_of(secret, parts));
    return hash.size() <= whole.size() &&
           equal_secret(std::string_view(whole).substr(0, hash.size()), to_lower(hash));
  });
}

std::string make_stamp(std::int64_t now) {
  const std::int64_t day = (now / kSecondsPerDay) % kDays;
  return {kBase32[static_cast<std::size_t>(day >> 5)], kBase32[static_cast<std::size_t>(day & 31)]};
}

std::optional<std::int64_t> parse_stamp(std::string_view stamp) {
  constexpr std::size_t kDigits = 2;
  if (stamp.size() != kDigits) return std::nullopt;
  std::int64_t day = 0;
  for (const char c : stamp) {
    const std::size_t digit = kBase32.find(to_upper(c));
    if (digit == std::string_view::npos) return std::nullopt;
    day = day * 32 + static_cast<std::int64_t>(digit);
  }
  return day;
}

bool is_fresh(const SrsRules& rules, std::int64_t then, std::int64_t now) {
  const std::int64_t day = (now / kSecondsPerDay) % kDays;
  const std::int64_t age = (day - then + kDays) % kDays;
  return age <= rules.max_age.count() / kSecondsPerDay;
}

// The digit behind SRS, '0' or '1', and what follows the separator.
struct Tagged {
  char kind = 0;
  char separator = 0;
  std::string_view rest{};
};
std::optional<Tagged> parse_tag(std::string_view local_part) {
  constexpr std::size_t kTag = 5;
  if (local_part.size() < kTag || !starts_with_nocase(local_part, "SRS")) return std::nullopt;
  const char kind = local_part[3];
  const char separator = local_part[4];
  if ((kind != '0' && kind != '1') || kSeparators.find(separator) == std::string_view::npos) {
    return std::nullopt;
  }
  return Tagged{kind, separator, local_part.substr(kTag)};
}

Result<std::string> checked_size(std::string address) {
  if (address.size() > kMaxAddress) return refuse("SRS address is too long");
  return address;
}

}  // namespace

std::vector<std::string> parse_srs_secrets(std::string_view text) {
  std::vector<std::string> secrets;
  for (const std::string_view line : split_fields(text, '\n')) {
    const std::string_view secret = trim(line);
    if (!secret.empty() && secret.front() != '#') secrets.emplace_back(secret);
  }
  return secrets;
}

bool is_srs_address(std::string_view address) {
  return parse_tag(mail::split_address(address).local_part).has_value();
}

Result<std::string> srs_forward(const SrsRules& rules, std::string_view sender, std::int64_t now) {
  const auto parts = mail::split_address(sender);
  if (!parts.has_domain || parts.local_part.empty() || equal_nocase(parts.domain, rules.domain)) {
    return std::string(sender);
  }
  if (rules.secrets.empty()) return fail(Error::Kind::kConfig, "no SRS secret");
  const auto tag = parse_tag(parts.local_part);
  std::string out = "SRS";
  if (!tag) {
    const std::string stamp = make_stamp(now);
    const std::string hash = make_hash(rules, {stamp, parts.domain, parts.local_part});
    (out += '0') += rules.separator;
    ((out += hash) += kInner) += stamp;
    ((out += kInner) += parts.domain) += kInner;
    out += parts.local_part;
  } else {
    // A second host points at the first one; further hosts do so, too, and leave out the others.
    std::string_view first_host = parts.domain;
    std::string_view inner = parts.local_part.substr(4);
    if (tag->kind == '1') {
      const auto [old_hash, behind] = split_at_first(tag->rest, kInner);
      const std::size_t end = behind.find_first_of(kSeparators);
      if (end == std::string_view::npos || end == 0) return refuse("damaged SRS1 address");
      const std::size_t equals = behind.find(kInner);
      if (equals == std::string_view::npos) return refuse("damaged SRS1 address");
      first_host = behind.substr(0, equals);
      inner = behind.substr(equals + 1);
    }
    const std::string hash = make_hash(rules, {first_host, inner});
    (out += '1') += rules.separator;
    ((out += hash) += kInner) += first_host;
    (out += kInner) += inner;
  }
  (out += '@') += rules.domain;
  return checked_size(std::move(out));
}

Result<std::string> srs_reverse(const SrsRules& rules, std::string_view address, std::int64_t now) {
  if (address.size() > 2 * kMaxAddress) return refuse("SRS address is too long");
  const auto parts = mail::split_address(address);
  const auto tag = parse_tag(parts.local_part);
  if (!tag) return refuse("no SRS address");
  const auto [hash, behind] = split_at_first(tag->rest, kInner);
  if (tag->kind == '1') {
    const std::size_t equals = behind.find(kInner);
    if (equals == std::string_view::npos || equals == 0) return refuse("damaged SRS1 address");
    const std::string_view host = behind.substr(0, equals);
    const std::string_view inner = behind.substr(equals + 1);
    const bool is_inner =
        !inner.empty() && kSeparators.find(inner.front()) != std::string_view::npos;
    if (!is_inner || !mail::is_valid_hostname(host)) return refuse("damaged SRS1 address");
    if (!is_good_hash(rules, hash, {host, inner})) return refuse("SRS hash is wrong");
    return "SRS0" + std::string(inner) + "@" + std::string(host);
  }
  const auto [stamp, rest] = split_at_first(behind, kInner);
  const std::size_t equals = rest.find(kInner);
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == rest.size()) {
    return refuse("damaged SRS0 address");
  }
  const std::string_view domain = rest.substr(0, equals);
  const std::string_view local_part = rest.substr(equals + 1);
  const auto day = parse_stamp(stamp);
  if (!day || !mail::is_valid_hostname(domain)) return refuse("damaged SRS0 address");
  if (!is_good_hash(rules, hash, {stamp, domain, local_part})) return refuse("SRS hash is wrong");
  if (!is_fresh(rules, *day, now)) return refuse("SRS address has expired");
  return std::string(local_part) + "@" + std::string(domain);
}

}  // namespace postern::mailauth
