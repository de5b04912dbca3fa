#include "common/milter/spec.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/endpoints.h"
#include "common/config/param.h"

namespace postern::milter {

namespace {

constexpr std::string_view kActions[] = {"accept", "quarantine", "reject", "shutdown", "tempfail"};

Result<void> apply(Spec& spec, std::string_view name, std::string_view value) {
  const auto duration = [&](std::chrono::seconds& out) -> Result<void> {
    TRY(out, config::parse_duration(value));
    return {};
  };
  if (name == "connect_timeout") return duration(spec.connect_timeout);
  if (name == "command_timeout") return duration(spec.command_timeout);
  if (name == "content_timeout") return duration(spec.content_timeout);
  if (name == "protocol") {
    TRY(const auto version, config::parse_count(value, name));
    spec.version = static_cast<std::uint32_t>(version);
    return {};
  }
  if (name == "default_action") {
    for (const auto action : kActions) {
      if (value != action) continue;
      spec.default_action = value;
      return {};
    }
    return fail(Error::Kind::kConfig, fmt::format("unknown default_action \"{}\"", value));
  }
  return fail(Error::Kind::kConfig, fmt::format("unknown attribute \"{}\"", name));
}

}  // namespace

Result<Spec> parse_spec(std::string_view word, const Spec& defaults) {
  Spec spec = defaults;
  std::string_view endpoint = config::endpoint_word(word);
  while (endpoint.ends_with(',')) endpoint.remove_suffix(1);
  TRY(spec.endpoint, config::canonical_endpoint(endpoint));
  spec.number = config::endpoint_number(spec.endpoint);
  if (!word.starts_with('{')) return spec;
  word.remove_prefix(1);
  if (word.ends_with('}')) word.remove_suffix(1);
  (void)next_word(word);
  // Blanks around the equals sign are allowed: "name = value".
  std::string text(word);
  for (const std::string_view blank : {" =", "= "}) {
    while (text.find(blank) != std::string::npos) text = replace_all(text, blank, "=");
  }
  std::string_view rest = text;
  for (std::string_view each = next_word_braced(rest); !each.empty();
       each = next_word_braced(rest)) {
    each = trim(trim_left(each, "{"), "} \t");
    const auto [name, value] = split_at_first(each, '=');
    DO(apply(spec, trim(name), trim(value)));
  }
  return spec;
}

ListSettings read_list(const config::Values& values, std::string_view parameter,
                       config::Problems& problems) {
  ListSettings settings;
  Spec& defaults = settings.defaults;
  defaults.connect_timeout = values.duration("milter_connect_timeout");
  defaults.command_timeout = values.duration("milter_command_timeout");
  defaults.content_timeout = values.duration("milter_content_timeout");
  defaults.default_action = values.text("milter_default_action");
  defaults.version = static_cast<std::uint32_t>(values.count("milter_protocol"));
  for (const auto& word : values.list(parameter)) {
    auto spec = parse_spec(word, defaults);
    if (spec) {
      settings.milters.push_back(*std::move(spec));
    } else {
      problems.push_back(values.problem(parameter, spec.error().text));
    }
  }
  settings.connect_macros = values.list("milter_connect_macros");
  settings.helo_macros = values.list("milter_helo_macros");
  settings.mail_macros = values.list("milter_mail_macros");
  settings.rcpt_macros = values.list("milter_rcpt_macros");
  settings.data_macros = values.list("milter_data_macros");
  settings.end_of_header_macros = values.list("milter_end_of_header_macros");
  settings.end_of_data_macros = values.list("milter_end_of_data_macros");
  settings.unknown_command_macros = values.list("milter_unknown_command_macros");
  for (const auto& word : values.list("milter_macro_defaults")) {
    // Braces stand around the whole, for blanks in the value, or around a long name.
    std::string_view pair = trim(word);
    if (pair.starts_with('{') && pair.ends_with('}')) {
      pair = trim(pair.substr(1, pair.size() - 2));
    }
    const auto [name, value] = split_at_first(pair, '=');
    std::string key(trim(name, "{} \t"));
    if (key.size() > 1 && !key.starts_with('{')) key = "{" + key + "}";
    settings.macro_defaults.emplace(std::move(key), std::string(trim(value)));
  }
  settings.daemon_name = values.text("milter_macro_daemon_name");
  settings.v = values.text("milter_macro_v");
  return settings;
}

}  // namespace postern::milter
