#include <fmt/format.h>
#include <openssl/opensslv.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "bounce/template.h"
#include "common/config/load.h"
#include "common/config/values.h"
#include "common/table/table.h"
#include "postern/postconf_verbs.h"

namespace postern::control::postconf {

using namespace config;

namespace {

Result<bounce::Templates> read_templates(const std::string& file) {
  bounce::Templates templates = bounce::built_in_templates();
  if (file.empty()) return templates;
  TRY(const auto text, read_file(file, kMaxConfigFile));
  auto read = bounce::parse_templates(text, templates);
  for (const std::string& problem : read.problems) {
    warn(fmt::format("{}{}{}", file, problem.starts_with("line ") ? ", " : ": ", problem));
  }
  return std::move(read.templates);
}

// The texts as they will be sent, without the headers.
Result<std::string> expand_texts(const bounce::Templates& templates, const Values& values) {
  bounce::TemplateValues source;
  source.text = [&](std::string_view name) -> std::optional<std::string> {
    if (!values.raw(name)) return std::nullopt;
    return values.text(name);
  };
  source.duration = [&](std::string_view name) -> std::optional<std::chrono::seconds> {
    if (!values.raw(name)) return std::nullopt;
    return values.duration(name);
  };
  const std::pair<std::string_view, const bounce::Template*> all[] = {
      {"failure", &templates.failure},
      {"delay", &templates.delay},
      {"success", &templates.success},
      {"verify", &templates.verify}};
  std::string out;
  for (const auto& [name, one] : all) {
    source.is_lost = [&, title = name](std::string_view parameter, std::string_view unit) {
      warn(bounce::lost_time(title, parameter, unit));
    };
    TRY(const std::string text, bounce::expand_template(one->text, source));
    if (!out.empty()) out += '\n';
    out += fmt::format("expanded_{}_text = <<EOF\n{}EOF\n", name, text);
  }
  return out;
}

}  // namespace

int show_list(std::initializer_list<std::string_view> words) {
  for (const std::string_view word : words) fmt::print("{}\n", word);
  return 0;
}

int show_table_types() {
  std::vector<std::string> types = table::known_types();
  // proxymap has these.
  for (const std::string_view type : {"proxy", "socketmap", "sqlite", "tcp"})
    types.emplace_back(type);
  std::ranges::sort(types);
  for (const std::string& type : types) fmt::print("{}\n", type);
  return 0;
}

int show_tls(std::string_view what) {
  // This program itself links no TLS; its libraries' version is that of the build.
  if (what == "compile-version" || what == "run-version") {
    fmt::print("{}\n", OPENSSL_VERSION_TEXT);
  } else if (what == "public-key-algorithms") {
    return show_list({"dsa", "ecdsa", "rsa"});
  } else {
    warn(fmt::format("unknown 'postconf -T' mode: {}", what));
    return 1;
  }
  return 0;
}

int show_templates(const Request& request, bool expands) {
  const auto loaded = load_configuration(request.directory, find_install_paths());
  if (!loaded) return fatal(loaded.error().text);
  const Values values(loaded->snapshot);
  const std::string file =
      request.names.empty() ? values.text("bounce_template_file") : request.names.front();
  const auto templates = read_templates(file);
  if (!templates) return fatal(templates.error().text);
  Result<std::string> text = bounce::print_templates(*templates);
  if (expands) text = expand_texts(*templates, values);
  if (!text) return fatal(text.error().text);
  fmt::print("{}", *text);
  return 0;
}

}  // namespace postern::control::postconf
