#include "common/config/values.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>

#include "common/base/text.h"

namespace postern::config {

namespace {

// The expanded value of a parameter, or its default when that is wrong. `parse` makes the type.
template <typename Parse>
auto parse_or_default(const Values& values, Problems* problems, std::string_view name,
                      const Parse& parse) {
  using Value = typename decltype(parse(std::string_view()))::value_type;
  const auto param = find_param(name);
  std::string fault;
  if (auto text = values.expanded(name)) {
    if (text->empty() && param && param->initial.empty()) return Value{};
    if (auto value = parse(*text))
      return *std::move(value);
    else
      fault = std::move(value).error().text;
  } else {
    fault = std::move(text).error().text;
  }
  if (problems != nullptr) problems->push_back(values.problem(name, std::move(fault)));
  const auto initial = values.expand_text(values.raw_default(name).value_or(""));
  if (!initial) return Value{};
  return parse(*initial).value_or(Value{});
}

std::string_view initial_of(std::string_view name) {
  const auto param = find_param(name);
  return param ? param->initial : std::string_view();
}

// The unit is that of the default, also where the default is another parameter's.
char unit_of(std::string_view name) {
  std::string_view initial = initial_of(name);
  for (int i = 0; i < 4 && initial.starts_with('$'); ++i) {
    const std::string_view other = initial.substr(1);
    if (!find_param(other)) break;
    initial = initial_of(other);
  }
  if (const auto transport = parse_transport_param(name); initial.empty() && transport) {
    initial = initial_of(transport->default_param);
  }
  return duration_unit(initial);
}

}  // namespace

Values::Values(std::shared_ptr<const Snapshot> snapshot) : snapshot_(std::move(snapshot)) {
  assert(snapshot_ != nullptr);
}

Values::Values(std::shared_ptr<const Snapshot> snapshot, const Service& service)
    : Values(std::move(snapshot)) {
  service_ = &service;
  own_["process_name"] = service.program;
  own_["service_name"] = service.name;
}

Values Values::under_stress() const { return with("stress", "yes"); }

Values Values::for_lmtp() const {
  Values values = *this;
  values.is_lmtp_ = true;
  return values;
}

Values Values::with(std::string_view name, std::string_view value) const {
  Values values = *this;
  values.own_.insert_or_assign(std::string(name), std::string(value));
  return values;
}

std::optional<std::string> Values::raw(std::string_view name) const {
  if (const auto it = own_.find(name); it != own_.end()) return it->second;
  if (service_ != nullptr) {
    for (auto it = service_->overrides.rbegin(); it != service_->overrides.rend(); ++it) {
      if (it->first == name) return it->second;
    }
  }
  if (const auto it = snapshot_->replaced.find(name); it != snapshot_->replaced.end()) {
    return it->second;
  }
  if (const Setting* const setting = snapshot_->find(name)) return setting->value;
  return raw_default(name);
}

std::optional<std::string> Values::raw_default(std::string_view name) const {
  if (name == "process_id") return std::to_string(getpid());
  if (const auto it = snapshot_->computed.find(name); it != snapshot_->computed.end()) {
    return it->second;
  }
  if (const auto param = find_param(name)) return std::string(param->initial);
  return std::nullopt;
}

bool Values::is_set(std::string_view name) const {
  if (own_.contains(name) || snapshot_->find(name) != nullptr) return true;
  if (service_ == nullptr) return false;
  for (const auto& [key, value] : service_->overrides) {
    if (key == name) return true;
  }
  return false;
}

Lookup Values::lookup() const {
  return [this](std::string_view name) -> std::optional<std::string> {
    std::optional<std::string> value = raw(name);
    // myorigin may name a file: wherever it is used, its first line is meant.
    if (name == "myorigin" && value && value->starts_with('/')) {
      const auto content = file(*value);
      return std::string(trim(split_at_first(content.value_or(""), '\n').first));
    }
    return value;
  };
}

Result<std::string> Values::expand_text(std::string_view text) const {
  return expand(text, lookup());
}

Result<std::string> Values::expanded(std::string_view name) const {
  const std::optional<std::string> value = lookup()(name);
  if (!value) return std::string();
  const auto param = find_param(name);
  if (param && param->type == ParamType::kRawText) return *value;
  // Through the name, so that a value that needs itself is noticed.
  if (value->find('$') == std::string::npos) return *value;
  return expand(fmt::format("${{{}}}", name), lookup());
}

std::string Values::text(std::string_view name) const {
  if (auto value = expanded(name)) return *std::move(value);
  return expand_text(raw_default(name).value_or("")).value_or("");
}

bool Values::flag(std::string_view name) const {
  return parse_or_default(*this, nullptr, name, parse_bool);
}

std::int64_t Values::count(std::string_view name) const {
  const auto param = find_param(name);
  const bool is_size = param && param->type == ParamType::kSize;
  return parse_or_default(*this, nullptr, name, [&](std::string_view text) {
    return is_size ? parse_size(text) : parse_count(text, name);
  });
}

std::chrono::seconds Values::duration(std::string_view name) const {
  return parse_or_default(*this, nullptr, name, [&](std::string_view text) {
    return parse_duration(text, unit_of(name));
  });
}

std::vector<std::string> Values::list(std::string_view name) const {
  return split_list(text(name));
}

std::optional<std::string> Values::file(std::string_view path) const {
  const auto it = snapshot_->files.find(path);
  if (it == snapshot_->files.end()) return std::nullopt;
  return it->second;
}

Problem Values::problem(std::string_view name, std::string text, Severity severity) const {
  Problem problem{"", 0, std::string(name), fmt::format("{}: {}", name, text), severity};
  if (service_ != nullptr) {
    for (const auto& [key, value] : service_->overrides) {
      if (key != name) continue;
      problem.file = service_->file;
      problem.line = service_->line;
      return problem;
    }
  }
  if (const Setting* const setting = snapshot_->find(name)) {
    problem.file = setting->file;
    problem.line = setting->line;
  }
  return problem;
}

std::string Values::member_name(std::string_view name) const {
  if (!is_lmtp_ || !name.starts_with("smtp_")) return std::string(name);
  if (name == "smtp_helo_name") return "lmtp_lhlo_name";
  if (name == "smtp_helo_timeout") return "lmtp_lhlo_timeout";
  if (name == "smtp_discard_ehlo_keywords") return "lmtp_discard_lhlo_keywords";
  if (name == "smtp_discard_ehlo_keyword_address_maps") {
    return "lmtp_discard_lhlo_keyword_address_maps";
  }
  std::string other = "l";
  other += name.substr(1);
  return find_param(other) ? other : std::string(name);
}

std::string transport_param(const Values& values, std::string_view transport,
                            std::string_view suffix) {
  const std::string name = fmt::format("{}{}", transport, suffix);
  if (values.raw(name)) return values.text(name);
  const auto entry = find_transport_suffix(suffix);
  return entry ? values.text(entry->default_param) : std::string();
}

std::int64_t transport_count(const Values& values, std::string_view transport,
                             std::string_view suffix) {
  const std::string name = fmt::format("{}{}", transport, suffix);
  if (const auto count = parse_count(transport_param(values, transport, suffix), name)) {
    return *count;
  }
  const auto entry = find_transport_suffix(suffix);
  return entry ? values.count(entry->default_param) : 0;
}

std::chrono::seconds transport_duration(const Values& values, std::string_view transport,
                                        std::string_view suffix) {
  const auto entry = find_transport_suffix(suffix);
  const char unit = entry ? unit_of(entry->default_param) : 's';
  if (const auto time = parse_duration(transport_param(values, transport, suffix), unit)) {
    return *time;
  }
  return entry ? values.duration(entry->default_param) : std::chrono::seconds(0);
}

void load_field(const Values& values, Problems& problems, std::string_view name, ParamType,
                bool& out) {
  out = parse_or_default(values, &problems, values.member_name(name), parse_bool);
}

void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                std::int64_t& out) {
  const std::string member = values.member_name(name);
  out = parse_or_default(values, &problems, member, [&](std::string_view text) {
    return type == ParamType::kSize ? parse_size(text) : parse_count(text, member);
  });
}

void load_field(const Values& values, Problems& problems, std::string_view name, ParamType,
                std::chrono::seconds& out) {
  const std::string member = values.member_name(name);
  out = parse_or_default(values, &problems, member, [&](std::string_view text) {
    return parse_duration(text, unit_of(member));
  });
}

void load_field(const Values& values, Problems& problems, std::string_view name, ParamType,
                std::string& out) {
  const std::string member = values.member_name(name);
  const auto param = find_param(member);
  out = parse_or_default(values, &problems, member, [&](std::string_view text) {
    const auto fault = param ? find_fault(*param, text) : std::nullopt;
    if (fault) return Result<std::string>(fail(Error::Kind::kConfig, *fault));
    return Result<std::string>(std::string(text));
  });
}

void load_field(const Values& values, Problems& problems, std::string_view name, ParamType,
                std::vector<std::string>& out) {
  out = parse_or_default(values, &problems, values.member_name(name), [](std::string_view text) {
    return Result<std::vector<std::string>>(split_list(text));
  });
}

void load_field(const Values& values, Problems& problems, std::string_view name, ParamType,
                Networks& out) {
  const std::string member = values.member_name(name);
  auto text = values.expanded(member);
  if (!text) {
    problems.push_back(values.problem(member, text.error().text));
    text = values.text(member);
  }
  // A pattern that is wrong matches nobody; the others count.
  std::vector<std::string> faults;
  out = Networks::parse(*text, [&](std::string_view path) { return values.file(path); }, faults);
  for (std::string& fault : faults) {
    problems.push_back(values.problem(member, std::move(fault)));
  }
}

void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                Secret& out) {
  std::string text;
  load_field(values, problems, name, type, text);
  out = Secret(std::move(text));
}

}  // namespace postern::config
