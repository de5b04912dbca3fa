#include "common/config/endpoints.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/master_cf.h"
#include "common/config/param.h"
#include "common/config/sasl_profile.h"
#include "common/config/snapshot.h"

namespace postern::config {

Result<std::string> canonical_endpoint(std::string_view text) {
  const auto refuse = [text](std::string_view why) {
    return fail(Error::Kind::kConfig, fmt::format("endpoint \"{}\": {}", text, why));
  };
  std::string_view rest = text;
  if (rest.starts_with("unix:") || rest.starts_with("local:")) {
    rest.remove_prefix(rest.find(':') + 1);
    if (rest.empty()) return refuse("a path is missing");
    return fmt::format("unix:{}", rest);
  }
  if (rest.starts_with("inet:")) rest.remove_prefix(5);
  std::string_view host;
  std::string_view port = rest;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos || end + 1 >= rest.size() || rest[end + 1] != ':') {
      return refuse("need [host]:port");
    }
    host = rest.substr(1, end - 1);
    if (starts_with_nocase(host, "IPv6:")) host.remove_prefix(5);
    port = rest.substr(end + 2);
  } else if (const auto colon = rest.rfind(':'); colon != std::string_view::npos) {
    host = rest.substr(0, colon);
    port = rest.substr(colon + 1);
  }
  if (port.empty()) return refuse("a port is missing");
  for (const char c : port) {
    if (!is_alnum(c) && c != '-' && c != '_') return refuse("bad port");
  }
  if (host.empty()) host = "localhost";
  return host.find(':') == std::string_view::npos ? fmt::format("inet:{}:{}", host, port)
                                                  : fmt::format("inet:[{}]:{}", host, port);
}

// FNV-1a, 63 bits: numbers travel signed.
std::uint64_t endpoint_number(std::string_view canonical) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : canonical) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return hash >> 1U;
}

std::string_view endpoint_word(std::string_view word) {
  if (!word.starts_with('{')) return word;
  word.remove_prefix(1);
  if (word.ends_with('}')) word.remove_suffix(1);
  return next_word(word);
}

std::map<std::uint64_t, std::string> configured_endpoints(const Values& values) {
  std::map<std::uint64_t, std::string> found;
  const auto collect = [&](std::string_view text) {
    if (text.find("check_policy_service") == std::string_view::npos) return;
    const auto expanded = values.expand_text(text);
    if (!expanded) return;
    const auto words = split_list(*expanded);
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
      if (!equal_nocase(words[i], "check_policy_service")) continue;
      auto endpoint = canonical_endpoint(endpoint_word(words[i + 1]));
      if (endpoint) found.emplace(endpoint_number(*endpoint), *std::move(endpoint));
    }
  };
  // Parameters that name partners themselves.
  const auto collect_named = [&](const Values& from) {
    for (const std::string_view name : {"smtpd_milters", "non_smtpd_milters"}) {
      for (const auto& word : from.list(name)) {
        std::string_view text = endpoint_word(word);
        while (text.ends_with(',')) text.remove_suffix(1);
        auto endpoint = canonical_endpoint(text);
        if (endpoint) found.emplace(endpoint_number(*endpoint), *std::move(endpoint));
      }
    }
    const std::string proxy = from.text("smtpd_proxy_filter");
    auto endpoint = canonical_endpoint(proxy);
    if (!proxy.empty() && endpoint) {
      found.emplace(endpoint_number(*endpoint), *std::move(endpoint));
    }
  };
  const auto collect_sasl = [&found](const Values& from) {
    if (!from.flag("smtpd_sasl_auth_enable") || from.text("smtpd_sasl_type") != "dovecot") return;
    auto endpoint = sasl_endpoint(from.text("smtpd_sasl_path"));
    if (endpoint) found.emplace(endpoint_number(*endpoint), *std::move(endpoint));
  };
  collect_named(values);
  collect_sasl(values);
  for (const auto& setting : values.snapshot().settings) collect(setting.value);
  for (const auto& service : values.snapshot().services) {
    if (service.overrides.empty()) continue;
    const Values own = values.of_service(service);
    collect_named(own);
    collect_sasl(own);
    for (const auto& [name, value] : service.overrides) {
      const auto expanded = own.expand_text(value);
      if (expanded) collect(*expanded);
    }
  }
  return found;
}

}  // namespace postern::config
