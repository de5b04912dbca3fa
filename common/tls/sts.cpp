#include "common/tls/sts.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::tls {

namespace {

constexpr std::size_t kMaxId = 32;

std::unexpected<Error> wrong(std::string text) {
  return fail(Error::Kind::kPermanent, std::move(text));
}

bool is_host_pattern(std::string_view text) {
  if (text.starts_with("*.")) text.remove_prefix(2);
  return !text.empty() && text.size() <= 253 && text.find('.') != std::string_view::npos &&
         std::ranges::all_of(
             text, [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; });
}

std::optional<StsMode> parse_mode(std::string_view text) {
  if (text == "enforce") return StsMode::kEnforce;
  if (text == "testing") return StsMode::kTesting;
  if (text == "none") return StsMode::kNone;
  return std::nullopt;
}

}  // namespace

std::string_view name_of(StsMode mode) {
  switch (mode) {
    case StsMode::kEnforce:
      return "enforce";
    case StsMode::kTesting:
      return "testing";
    case StsMode::kNone:
      return "none";
  }
  return "";
}

std::optional<std::string> find_sts_id(const std::vector<std::string>& texts) {
  std::optional<std::string> id;
  unsigned count = 0;
  for (const auto& text : texts) {
    const auto fields = split_fields(text, ';');
    if (trim(fields.front()) != "v=STSv1") continue;
    ++count;
    for (const auto field : fields) {
      const auto [name, value] = split_at_first(trim(field), '=');
      if (trim(name) != "id" || id) continue;
      const auto found = trim(value);
      const bool is_sound =
          !found.empty() && found.size() <= kMaxId && std::ranges::all_of(found, is_alnum);
      if (is_sound) id = found;
    }
  }
  return count == 1 ? id : std::nullopt;
}

Result<StsPolicy> parse_sts_policy(std::string_view text) {
  if (text.size() > StsPolicy::kMaxBytes) return wrong("policy is too long");
  StsPolicy policy;
  bool has_version = false;
  std::optional<StsMode> mode;
  std::optional<std::int64_t> max_age;
  for (const auto line : split_fields(text, '\n')) {
    const auto [left, right] = split_at_first(line, ':');
    const auto name = trim(left);
    const auto value = trim(right);
    if (name == "version") {
      if (value != "STSv1") return wrong("version is not STSv1");
      has_version = true;
    } else if (name == "mode" && !mode) {
      mode = parse_mode(value);
      if (!mode) return wrong("mode is none of enforce, testing, none");
    } else if (name == "max_age" && !max_age) {
      max_age = parse_integer<std::int64_t>(value, 0, StsPolicy::kMaxAge.count());
      if (!max_age) return wrong("max_age is no number of seconds up to a year");
    } else if (name == "mx") {
      if (!is_host_pattern(value)) return wrong("mx is no host name");
      if (policy.mx.size() >= StsPolicy::kMaxPatterns) return wrong("too many mx");
      policy.mx.push_back(to_lower(value));
    }
  }
  if (!has_version) return wrong("no version");
  if (!mode) return wrong("no mode");
  if (!max_age) return wrong("no max_age");
  if (*mode != StsMode::kNone && policy.mx.empty()) return wrong("no mx");
  policy.mode = *mode;
  policy.max_age = std::chrono::seconds(*max_age);
  return policy;
}

bool matches_sts_mx(const std::vector<std::string>& patterns, std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  const std::string name = to_lower(host);
  const auto dot = name.find('.');
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    if (!pattern.starts_with("*.")) return pattern == name;
    return dot != std::string::npos && dot > 0 &&
           std::string_view(name).substr(dot) == std::string_view(pattern).substr(1);
  });
}

}  // namespace postern::tls
