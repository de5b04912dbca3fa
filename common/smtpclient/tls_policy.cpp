#include "common/smtpclient/tls_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/text.h"
#include "common/dns/wire.h"

namespace postern::smtpclient {

namespace {

constexpr std::array<std::pair<std::string_view, TlsLevel>, 8> kLevels{{
    {"none", TlsLevel::kNone},
    {"may", TlsLevel::kMay},
    {"encrypt", TlsLevel::kEncrypt},
    {"fingerprint", TlsLevel::kFingerprint},
    {"dane", TlsLevel::kDane},
    {"dane-only", TlsLevel::kDaneOnly},
    {"verify", TlsLevel::kVerify},
    {"secure", TlsLevel::kSecure},
}};

// The old parameters speak only where the new one is silent (postconf(5) smtp_use_tls).
Result<TlsLevel> main_level(const config::TlsParams& params) {
  if (!params.smtp_tls_security_level.empty()) {
    const auto level = parse_tls_level(params.smtp_tls_security_level);
    if (!level) {
      return fail(Error::Kind::kConfig,
                  "unknown TLS security level \"" + params.smtp_tls_security_level + "\"");
    }
    return *level;
  }
  if (params.smtp_enforce_tls) {
    return params.smtp_tls_enforce_peername ? TlsLevel::kVerify : TlsLevel::kEncrypt;
  }
  return params.smtp_use_tls ? TlsLevel::kMay : TlsLevel::kNone;
}

std::vector<std::string> joined(std::vector<std::string> first,
                                const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// What the level takes from main.cf, unless an attribute says otherwise.
TlsPolicy policy_at(TlsLevel level, const config::TlsParams& params) {
  TlsPolicy policy;
  policy.level = level;
  if (is_mandatory(level)) {
    policy.protocols = params.smtp_tls_mandatory_protocols;
    policy.ciphers = params.smtp_tls_mandatory_ciphers;
    policy.exclude =
        joined(params.smtp_tls_exclude_ciphers, params.smtp_tls_mandatory_exclude_ciphers);
  } else {
    policy.protocols = params.smtp_tls_protocols;
    policy.ciphers = params.smtp_tls_ciphers;
    policy.exclude = params.smtp_tls_exclude_ciphers;
  }
  if (level == TlsLevel::kFingerprint) policy.match = params.smtp_tls_fingerprint_cert_match;
  if (level == TlsLevel::kVerify) policy.match = params.smtp_tls_verify_cert_match;
  if (level == TlsLevel::kSecure) policy.match = params.smtp_tls_secure_cert_match;
  if (level >= TlsLevel::kVerify) policy.trust_anchor_file = params.smtp_tls_trust_anchor_file;
  policy.servername = params.smtp_tls_servername;
  policy.connection_reuse = params.smtp_tls_connection_reuse;
  return policy;
}

std::unexpected<Error> wrong(std::string text) {
  return fail(Error::Kind::kConfig, std::move(text));
}

// "{ name = value }" has blanks where others have none.
std::string_view without_braces(std::string_view word) {
  if (word.size() < 2 || word.front() != '{' || word.back() != '}') return word;
  return trim(word.substr(1, word.size() - 2));
}

void add_matches(std::vector<std::string>& match, std::string_view value, char separator) {
  for (const auto part : split_fields(value, separator)) {
    const auto name = trim(part);
    if (!name.empty()) match.emplace_back(name);
  }
}

Result<void> apply(TlsPolicy& policy, std::string_view name, std::string_view value,
                   bool& has_match) {
  if (equal_nocase(name, "protocols")) {
    policy.protocols = value;
  } else if (equal_nocase(name, "ciphers")) {
    policy.ciphers = value;
  } else if (equal_nocase(name, "exclude")) {
    policy.exclude.clear();
    for (const auto part : split_fields(value, ':')) policy.exclude.emplace_back(trim(part));
  } else if (equal_nocase(name, "servername")) {
    policy.servername = value;
  } else if (equal_nocase(name, "connection_reuse")) {
    if (!equal_nocase(value, "yes") && !equal_nocase(value, "no")) {
      return wrong(fmt::format("connection_reuse={} is neither yes nor no", value));
    }
    policy.connection_reuse = equal_nocase(value, "yes");
  } else if (equal_nocase(name, "policy_type")) {
    policy.reported.type = to_lower(value);
  } else if (equal_nocase(name, "policy_domain")) {
    policy.reported.domain = to_lower(value);
  } else if (equal_nocase(name, "policy_string")) {
    policy.reported.strings.emplace_back(value);
  } else if (equal_nocase(name, "mx_host_pattern")) {
    policy.reported.mx_patterns.emplace_back(value);
  } else if (equal_nocase(name, "policy_ttl") || equal_nocase(name, "policy_failure")) {
    // Of those who look policies up for Postfix: of use to reports only (TLSRPT_README).
  } else if (equal_nocase(name, "match")) {
    const bool is_digest = policy.level == TlsLevel::kFingerprint;
    if (!is_digest && policy.level < TlsLevel::kVerify) {
      return wrong(fmt::format("\"match\" has no meaning at level {}", name_of(policy.level)));
    }
    if (!std::exchange(has_match, true)) policy.match.clear();
    add_matches(policy.match, value, is_digest ? '|' : ':');
  } else if (equal_nocase(name, "tafile")) {
    if (policy.level < TlsLevel::kVerify) {
      return wrong(fmt::format("\"tafile\" has no meaning at level {}", name_of(policy.level)));
    }
    policy.trust_anchor_file = value;
  } else {
    return wrong(fmt::format("invalid attribute name: \"{}\"", name));
  }
  return {};
}

Result<TlsPolicy> completed(TlsPolicy policy) {
  if (policy.level == TlsLevel::kFingerprint && policy.match.empty()) {
    return wrong("level fingerprint needs at least one fingerprint to match");
  }
  return policy;
}

std::string without_trailing_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return to_lower(name);
}

bool is_domain(std::string_view text) {
  return !text.empty() && text.find_first_of("[]:/") == std::string_view::npos &&
         !dns::parse_address(text);
}

}  // namespace

std::optional<TlsLevel> parse_tls_level(std::string_view text) {
  for (const auto& [name, level] : kLevels) {
    if (equal_nocase(name, text)) return level;
  }
  return std::nullopt;
}

std::string_view name_of(TlsLevel level) { return kLevels[static_cast<std::size_t>(level)].first; }

TlsPolicy tls_policy_at(TlsLevel level, const config::TlsParams& params) {
  return policy_at(level, params);
}

Result<TlsPolicy> default_tls_policy(const config::TlsParams& params) {
  TRY(const TlsLevel level, main_level(params));
  if (params.smtp_tls_wrappermode && !is_mandatory(level)) {
    return wrong("smtp_tls_wrappermode requires \"smtp_tls_security_level = encrypt\" or stronger");
  }
  return completed(policy_at(level, params));
}

Result<TlsPolicy> parse_tls_policy(std::string_view entry, const config::TlsParams& params) {
  const auto words = split_words_braced(entry, kMainCfSeparators);
  if (words.empty()) return wrong("no TLS security level");
  const auto level = parse_tls_level(words.front());
  if (!level) return wrong(fmt::format("invalid security level \"{}\"", words.front()));
  TlsPolicy policy = policy_at(*level, params);
  bool has_match = false;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = without_braces(words[i]);
    const auto equals = word.find('=');
    if (equals == std::string_view::npos) {
      return wrong(fmt::format("\"{}\" is not name=value", word));
    }
    const auto value = trim(word.substr(equals + 1));
    if (value.empty()) return wrong(fmt::format("\"{}\" has no value", word));
    // postconf(5): at "none" attributes are of no use, and no harm.
    if (*level == TlsLevel::kNone) continue;
    DO(apply(policy, trim(word.substr(0, equals)), value, has_match));
  }
  return completed(std::move(policy));
}

Result<TlsPolicy> policy_of_sites(TlsPolicy policy, const std::vector<std::string>& results,
                                  const config::TlsParams& params) {
  std::optional<TlsLevel> level;
  for (const auto& result : results) {
    const std::string word = to_upper(trim(result));
    if (word == "NONE") {
      if (!level || *level == TlsLevel::kMay) level = TlsLevel::kNone;
    } else if (word == "MAY") {
      if (!level) level = TlsLevel::kMay;
    } else if (word == "MUST_NOPEERMATCH") {
      if (!level || *level < TlsLevel::kEncrypt) level = TlsLevel::kEncrypt;
    } else if (word == "MUST") {
      level = TlsLevel::kVerify;
    } else {
      return wrong(fmt::format("\"{}\" is none of NONE, MAY, MUST_NOPEERMATCH, MUST", result));
    }
  }
  return level ? policy_at(*level, params) : std::move(policy);
}

std::vector<ipc::tables::Key> tls_policy_keys(std::string_view nexthop) {
  std::vector<ipc::tables::Key> keys;
  keys.push_back({.text = to_lower(nexthop)});
  if (!is_domain(nexthop)) return keys;
  const std::string& whole = keys.front().text;
  std::vector<std::string> parents;
  for (auto dot = whole.find('.'); dot != std::string::npos; dot = whole.find('.', dot + 1)) {
    parents.push_back(whole.substr(dot));
  }
  for (auto& parent : parents) keys.push_back({.text = std::move(parent), .is_partial = true});
  return keys;
}

std::vector<std::string> names_to_match(const TlsPolicy& policy, std::string_view domain,
                                        std::string_view host) {
  std::vector<std::string> names;
  for (const auto& each : policy.match) {
    if (equal_nocase(each, "hostname")) {
      names.push_back(without_trailing_dot(host));
    } else if (equal_nocase(each, "nexthop")) {
      names.push_back(without_trailing_dot(domain));
    } else if (equal_nocase(each, "dot-nexthop")) {
      names.push_back("." + without_trailing_dot(domain));
    } else {
      names.push_back(without_trailing_dot(each));
    }
  }
  return names;
}

std::string server_name_of(const TlsPolicy& policy, std::string_view domain,
                           std::string_view host) {
  std::string name = policy.servername;
  if (equal_nocase(name, "hostname")) name = host;
  if (equal_nocase(name, "nexthop")) name = domain;
  // RFC 6066 3: literal addresses are not permitted.
  return is_domain(name) ? without_trailing_dot(name) : std::string();
}

}  // namespace postern::smtpclient
