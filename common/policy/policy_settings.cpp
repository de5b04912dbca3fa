#include "common/policy/policy_settings.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/endpoints.h"
#include "common/config/param.h"

namespace postern::policy {

PolicySettings policy_defaults(const config::SmtpdParams& params) {
  PolicySettings settings;
  settings.default_action = params.smtpd_policy_service_default_action;
  settings.policy_context = params.smtpd_policy_service_policy_context;
  settings.timeout = params.smtpd_policy_service_timeout;
  settings.max_idle = params.smtpd_policy_service_max_idle;
  settings.max_ttl = params.smtpd_policy_service_max_ttl;
  settings.retry_delay = params.smtpd_policy_service_retry_delay;
  settings.request_limit = params.smtpd_policy_service_request_limit;
  settings.try_limit = params.smtpd_policy_service_try_limit;
  settings.connection_limit = params.policy_connection_limit;
  return settings;
}

namespace {

Result<void> apply(PolicySettings& settings, std::string_view name, std::string_view value) {
  const auto duration = [&](std::chrono::seconds& out) -> Result<void> {
    TRY(out, config::parse_duration(value));
    return {};
  };
  const auto count = [&](std::int64_t& out) -> Result<void> {
    TRY(out, config::parse_count(value, name));
    return {};
  };
  if (name == "timeout") return duration(settings.timeout);
  if (name == "max_idle") return duration(settings.max_idle);
  if (name == "max_ttl") return duration(settings.max_ttl);
  if (name == "retry_delay") return duration(settings.retry_delay);
  if (name == "request_limit") return count(settings.request_limit);
  if (name == "try_limit") return count(settings.try_limit);
  if (name == "default_action") {
    settings.default_action = value;
    return {};
  }
  if (name == "policy_context") {
    settings.policy_context = value;
    return {};
  }
  return fail(Error::Kind::kConfig, fmt::format("unknown attribute \"{}\"", name));
}

}  // namespace

Result<PolicySettings> parse_policy_service(std::string_view text, const PolicySettings& defaults) {
  PolicySettings settings = defaults;
  TRY(settings.endpoint, config::canonical_endpoint(config::endpoint_word(text)));
  settings.number = config::endpoint_number(settings.endpoint);
  if (!text.starts_with('{')) return settings;
  text.remove_prefix(1);
  if (text.ends_with('}')) text.remove_suffix(1);
  (void)next_word(text);
  // `name = value`, or `{ name = value with blanks }`.
  for (std::string_view word = next_word_braced(text); !word.empty();
       word = next_word_braced(text)) {
    std::string whole(word);
    if (whole.starts_with('{')) {
      whole =
          trim(std::string_view(whole).substr(1, whole.size() - (whole.ends_with('}') ? 2 : 1)));
    }
    // Blanks around the equals sign part it into words.
    if (whole.find('=') == std::string::npos) {
      const std::string_view next = next_word_braced(text);
      if (next == "=") {
        whole = fmt::format("{}={}", whole, next_word_braced(text));
      } else {
        whole += next;
      }
    } else if (whole.ends_with('=') && whole.size() > 1) {
      whole += next_word_braced(text);
    }
    const auto equals = whole.find('=');
    if (equals == std::string::npos) {
      return fail(Error::Kind::kConfig, fmt::format("expected name=value, not \"{}\"", whole));
    }
    const std::string name(trim(std::string_view(whole).substr(0, equals)));
    const std::string value(trim(std::string_view(whole).substr(equals + 1)));
    auto applied = apply(settings, name, value);
    if (!applied) return fail_in(settings.endpoint, std::move(applied).error());
  }
  return settings;
}

}  // namespace postern::policy
