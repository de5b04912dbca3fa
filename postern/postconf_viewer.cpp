#include "postern/postconf_viewer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include "common/config/lint.h"
#include "common/config/param.h"

namespace postern::control::postconf {

using namespace config;

namespace {

// Names of old that only the defaults of others still mention: Postfix counts them as the user's.
constexpr std::string_view kLegacyNames[] = {"fallback_relay", "virtual_maps"};

bool is_legacy(std::string_view name) {
  return std::ranges::find(kLegacyNames, name) != std::end(kLegacyNames);
}

// Of whose transports postconf(1) shows parameters; discard is none of them.
bool is_agent(std::string_view program) {
  constexpr std::string_view kAgents[] = {"smtp", "lmtp", "local", "virtual", "pipe", "error"};
  return std::ranges::find(kAgents, program) != std::end(kAgents);
}

void add_service_names(const Service& service, std::set<std::string, std::less<>>& names) {
  const std::string_view program = service.program;
  const bool is_transport = is_agent(program);
  if (service.type != ServiceType::kUnix || (!is_transport && program != "spawn")) return;
  for (const std::string_view suffix :
       {"_destination_concurrency_failed_cohort_limit", "_destination_concurrency_limit",
        "_destination_concurrency_negative_feedback", "_destination_concurrency_positive_feedback",
        "_destination_rate_delay", "_destination_recipient_limit", "_delivery_slot_cost",
        "_delivery_slot_discount", "_delivery_slot_loan", "_extra_recipient_limit",
        "_initial_destination_concurrency", "_minimum_delivery_slots", "_recipient_limit",
        "_recipient_refill_delay", "_recipient_refill_limit", "_transport_rate_delay"}) {
    if (is_transport) names.insert(fmt::format("{}{}", service.name, suffix));
  }
  if (program == "pipe" || program == "spawn") names.insert(service.name + "_time_limit");
}

}  // namespace

Result<Loaded> load_for(const Request& request) {
  const InstallPaths paths = find_install_paths();
  Loaded loaded;
  if (request.defaults) {
    loaded.snapshot = std::make_shared<Snapshot>();
    loaded.snapshot->config_directory = request.directory;
    loaded.snapshot->paths = paths;
    Problems ignored;
    complete_snapshot(*loaded.snapshot, ignored);
    // The names that come from transports are known all the same.
    if (auto own = load_configuration(request.directory, paths)) {
      loaded.snapshot->services = std::move(own->snapshot->services);
    }
    return loaded;
  }
  TRY(loaded, load_configuration(request.directory, paths));
  if (request.overrides.empty()) return loaded;
  for (const auto& [name, value] : request.overrides) {
    auto& settings = loaded.snapshot->settings;
    const auto it = std::ranges::find(settings, name, &Setting::name);
    if (it != settings.end())
      it->value = value;
    else
      settings.push_back({name, value, request.directory + "/main.cf", 0});
  }
  Problems ignored;
  complete_snapshot(*loaded.snapshot, ignored);
  return loaded;
}

Result<void> tell_problems(const Request& request, const Problems& problems) {
  for (const Problem& problem : problems) {
    // Of parameters' values postconf says nothing.
    const bool is_line = problem.parameter.empty() && (problem.file.ends_with("/main.cf") ||
                                                       problem.file.ends_with("/master.cf"));
    // Such a line is ignored.
    const bool is_indented = problem.text.starts_with("logical line must not start");
    if (is_line && problem.line > 0 && !is_indented && problem.severity == Severity::kError) {
      // An entry's field is told with the entry.
      const bool is_field = problem.text.starts_with("invalid ");
      constexpr std::string_view kCount = "bad field count";
      if (problem.text.starts_with(kCount)) {
        return fail(Error::Kind::kConfig,
                    fmt::format("file {}: line {}: {}", problem.file, problem.line, kCount));
      }
      // What was expected instead is for check.
      return fail(Error::Kind::kConfig,
                  is_field ? problem.text.substr(0, problem.text.rfind("; ")) : log_text(problem));
    }
    if (is_indented) {
      if (!request.quiet) warn(fmt::format("{}: {}", problem.file, problem.text));
      continue;
    }
    if (is_line && problem.line == 0) {
      if (!request.quiet) warn(problem.text);  // there is no such file
      continue;
    }
    const bool is_odd = is_line || problem.text.starts_with("overriding earlier entry");
    if (is_odd && !request.quiet) warn(log_text(problem));
  }
  return {};
}

MainViewer::MainViewer(const Request& request, std::shared_ptr<const Snapshot> snapshot)
    : request_(request),
      snapshot_(std::move(snapshot)),
      values_(Values(snapshot_).with("process_name", "postconf")) {
  for (const std::string& name : referenced_names(*snapshot_)) {
    if (!find_param(name) && snapshot_->find(name)) user_names_.insert(name);
  }
  for (const Setting& setting : snapshot_->settings) {
    if (!find_param(setting.name) && !is_service_name(setting.name) &&
        is_used_name(*snapshot_, setting.name)) {
      user_names_.insert(setting.name);
    }
  }
}

void MainViewer::show_all() const {
  std::set<std::string, std::less<>> names;
  if ((request_.classes & kBuiltin) != 0) {
    for (const ParamInfo param : all_params()) {
      const bool is_of_service = is_service_name(param.name) && request_.classes != kAllClasses;
      if (!is_of_service && !is_legacy(param.name)) names.emplace(param.name);
    }
  }
  if ((request_.classes & kService) != 0) {
    for (const Service& service : snapshot_->services) add_service_names(service, names);
  }
  if ((request_.classes & kUser) != 0 && !request_.defaults) {
    names.insert(user_names_.begin(), user_names_.end());
    for (const std::string_view name : kLegacyNames) {
      if (is_override(name) || snapshot_->find(name) != nullptr) names.emplace(name);
    }
  }
  for (const std::string& name : names) {
    if (!request_.only_set || is_set(name)) show(name);
  }
}

void MainViewer::show_named() const {
  for (const std::string& name : request_.names) {
    if (!is_known(name)) {
      if (!request_.quiet) warn(fmt::format("{}: unknown parameter", name));
      continue;
    }
    if (!request_.only_set || is_set(name)) show(name);
  }
}

void MainViewer::warn_undefined() const {
  for (const Setting& setting : snapshot_->settings) {
    // Where it ends nobody knows.
    const auto expanded = values_.expand_text(setting.value);
    if (expanded || !expanded.error().text.starts_with("missing closing")) continue;
    warn(fmt::format("{}: {}", setting.name, expanded.error().text));
    std::exit(fatal("macro processing error"));
  }
  if (request_.quiet) return;
  std::vector<std::string> names = referenced_names(*snapshot_);
  for (std::string& name : values_.list("smtpd_restriction_classes")) {
    names.push_back(std::move(name));
  }
  for (const std::string& name : names) {
    const bool is_defined = values_.raw(name) || parse_transport_param(name) || is_override(name);
    if (!is_defined) {
      warn(fmt::format("{}/main.cf: undefined parameter: {}", snapshot_->config_directory, name));
    }
  }
}

bool MainViewer::is_override(std::string_view name) const {
  return std::ranges::any_of(snapshot_->services, [&](const Service& service) {
    return std::ranges::any_of(service.overrides,
                               [&](const auto& pair) { return pair.first == name; });
  });
}

void MainViewer::warn_unused() const {
  if (request_.quiet) return;
  for (const Setting& setting : snapshot_->settings) {
    if (is_known(setting.name)) continue;
    warn(fmt::format("{}: unused parameter: {}={}", setting.file, setting.name, setting.value));
  }
  warn_unused_services();
}

void MainViewer::warn_unused_services() const {
  if (request_.quiet) return;
  for (const Service& service : snapshot_->services) {
    // Of several values of a name the last one counts.
    std::map<std::string_view, std::string_view> overrides;
    for (const auto& [name, value] : service.overrides) overrides[name] = value;
    for (const auto& [name, value] : overrides) {
      if (is_known(name) || is_referenced(name)) continue;
      warn(fmt::format("{}: unused parameter: {}={}", service.file, name, value));
    }
  }
}

bool MainViewer::is_set(std::string_view name) const {
  if (name == "config_directory" && request_.directory_is_given) return true;
  return snapshot_->find(name) != nullptr;
}

bool MainViewer::is_service_name(std::string_view name) const {
  const auto transport = parse_transport_param(name);
  if (!transport) return false;
  return std::ranges::any_of(snapshot_->services, [&](const Service& service) {
    return service.type != ServiceType::kInet && service.name == transport->transport &&
           service.program != "discard";
  });
}

bool MainViewer::is_referenced(std::string_view name) const {
  const auto names = referenced_names(*snapshot_);
  return std::ranges::find(names, name) != names.end();
}

bool MainViewer::is_known(std::string_view name) const {
  if (find_param(name) || is_service_name(name)) return true;
  return !request_.defaults && user_names_.contains(name);
}

std::string MainViewer::raw(std::string_view name) const {
  // What the file says, also where something else is used instead.
  const Setting* const setting = request_.defaults ? nullptr : snapshot_->find(name);
  if (setting != nullptr) return setting->value;
  auto value = request_.defaults ? values_.raw_default(name) : values_.raw(name);
  if (!value) {
    const auto transport = parse_transport_param(name);
    if (transport) value = fmt::format("${}", transport->default_param);
  }
  return value.value_or("");
}

void MainViewer::show(std::string_view name) const {
  std::string value = raw(name);
  if (request_.as_json) {
    if (request_.expand) value = values_.expand_text(value).value_or(value);
    print_json(name, value);
    return;
  }
  const auto param = find_param(name);
  // What is expanded at use, for each message, is shown as it is. debugger_command is of a
  // process.
  const bool is_raw = param && param->type == ParamType::kRawText;
  if (request_.expand && (!is_raw || name == "debugger_command")) {
    if (auto expanded = values_.expand_text(value)) {
      value = *std::move(expanded);
    } else {
      (void)std::fflush(stdout);
      warn(fmt::format("{}: {}", name, expanded.error().text));
      std::exit(fatal("macro processing error"));
    }
  }
  print_value(request_, name, value);
}

}  // namespace postern::control::postconf
