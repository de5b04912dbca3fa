#include "postern/master_entries.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/config/main_cf.h"
#include "postern/config_edit.h"

namespace postern::control {

namespace {

using config::kMasterColumnNames;
using config::kMasterColumns;
using config::MasterStyle;
using config::Service;
using What = MasterRequest::What;

struct Pattern {
  std::string service = "*";
  std::string type = "*";
  std::string detail = "*";
};

bool fits(std::string_view pattern, std::string_view text) {
  return pattern == "*" || pattern == text;
}

bool is_type(std::string_view text) {
  return text == "*" || config::parse_service_type(text).has_value();
}

// The type is what parts a service's name, which may hold slashes, from the detail.
Result<Pattern> parse_pattern(std::string_view text, What what) {
  Pattern pattern;
  if (text == "*") return pattern;
  const auto fields = split_fields(text, '/');
  if (std::ranges::any_of(fields, &std::string_view::empty)) {
    return fail(Error::Kind::kConfig, fmt::format("malformed request: \"{}\"", text));
  }
  std::size_t n = fields.size();
  if (what != What::kEntries && n >= 3 && is_type(fields[n - 2])) {
    pattern.detail = fields[n - 1];
    --n;
  }
  if (n >= 2) {
    if (what == What::kEntries && n > 2 && !is_type(fields[n - 1])) {
      return fail(Error::Kind::kConfig, "-M option requires service_name[/type]");
    }
    pattern.type = fields[n - 1];
    --n;
  }
  std::vector<std::string_view> name(fields.begin(), fields.begin() + static_cast<long>(n));
  pattern.service = join(name, "/");
  const bool is_field =
      pattern.detail == "*" ||
      std::ranges::find(kMasterColumnNames, pattern.detail) != kMasterColumnNames.end();
  if (what == What::kFields && !is_field) {
    return fail(Error::Kind::kConfig,
                fmt::format("invalid service attribute name: \"{}\"", pattern.detail));
  }
  return pattern;
}

bool fits(const Pattern& pattern, const Service& service) {
  return fits(pattern.service, service.name) && fits(pattern.type, name_of(service.type));
}

std::string command_of(const Service& service) {
  std::string command = service.program;
  const std::string line = print_service(service, MasterStyle::kOneLine);
  // The arguments as they are printed in an entry: everything behind the eighth column.
  std::string_view rest = line;
  for (std::size_t i = 0; i < kMasterColumns; ++i) (void)next_word_braced(rest, kBlanks);
  if (!rest.empty()) command += rest;
  return command;
}

std::string field_of(const Service& service, std::size_t column) {
  return column < service.columns.size() ? service.columns[column] : command_of(service);
}

// The entry that a command, or a changed column, makes of this one.
Result<Service> with_field(const Service& service, std::size_t column, std::string_view value) {
  std::string text;
  for (std::size_t i = 0; i < kMasterColumns; ++i) {
    text += i == column ? std::string(value) : field_of(service, i);
    text += ' ';
  }
  return config::parse_service(trim(text), "", 0);
}

bool is_override(std::string_view argument) { return argument.starts_with("-o"); }

// The arguments of one -o, one or two of them, start at `i`; gives its name.
std::string override_name(const std::vector<std::string>& args, std::size_t i, std::size_t& size) {
  std::string_view text = std::string_view(args[i]).substr(2);
  size = 1;
  if (text.empty() && i + 1 < args.size()) {
    text = args[i + 1];
    size = 2;
  }
  if (text.starts_with('{')) {
    if (const auto inner = config::take_braced(text)) text = *inner;
  }
  return std::string(trim(split_at_first(text, '=').first));
}

Result<Service> with_param(const Service& service, std::string_view name,
                           std::optional<std::string_view> value) {
  std::vector<std::string> args;
  bool is_done = false;
  std::size_t end_of_options = 0;
  bool in_options = true;
  const auto add = [&] {
    args.emplace_back("-o");
    args.push_back(config::print_override(name, *value));
    is_done = true;
  };
  for (std::size_t i = 0; i < service.raw_args.size();) {
    const std::string& arg = service.raw_args[i];
    if (!config::is_option_argument(arg)) in_options = false;
    std::size_t size = 1;
    if (in_options && is_override(arg) && override_name(service.raw_args, i, size) == name) {
      if (value && !is_done) add();
    } else {
      for (std::size_t k = 0; k < size; ++k) args.push_back(service.raw_args[i + k]);
    }
    i += size;
    if (in_options) end_of_options = args.size();
  }
  if (value && !is_done) {
    const std::vector<std::string> rest(args.begin() + static_cast<long>(end_of_options),
                                        args.end());
    args.resize(end_of_options);
    add();
    args.insert(args.end(), rest.begin(), rest.end());
  }
  std::string text =
      join(std::vector<std::string>(service.columns.begin(), service.columns.end()), " ");
  text += " " + service.program;
  for (const std::string& arg : args) text += " " + arg;
  TRY(Service changed, config::parse_service(text, "", 0));
  // A value that no quoting can hold in one argument must not become something else.
  const std::pair<std::string, std::string> wanted(name, value.value_or(""));
  if (value && std::ranges::find(changed.overrides, wanted) == changed.overrides.end()) {
    return fail(Error::Kind::kConfig, fmt::format("bad value for {}: \"{}\"", name, *value));
  }
  return changed;
}

struct Edit {
  std::string argument;  // as it was given
  Pattern pattern;
  std::string request;
  std::string value;
  bool is_matched = false;
};

Result<Pattern> parse_edit_pattern(std::string_view text, What what) {
  TRY(Pattern pattern, parse_pattern(text, what));
  if (!is_type(pattern.type)) {
    return fail(Error::Kind::kConfig,
                fmt::format("invalid service type: \"{}\" in \"{}\"", pattern.type, text));
  }
  return pattern;
}

Result<Edit> parse_edit(std::string_view text, const MasterRequest& request) {
  Edit edit;
  edit.argument = text;
  edit.request = text;
  if (request.action != MasterRequest::Action::kEdit) {
    TRY(edit.pattern, parse_edit_pattern(trim(text), request.what));
    if (request.what == What::kEntries && text.find('/') == std::string_view::npos) {
      return fail(Error::Kind::kConfig, "-Me, -MX or -M# requires service_name/type");
    }
    return edit;
  }
  const auto [pattern, value] = split_at_first(text, '=');
  if (text.find('=') == std::string_view::npos) {
    return fail(Error::Kind::kConfig,
                fmt::format("missing '=' after attribute name: \"{}\"", text));
  }
  edit.request = trim(pattern);
  edit.value = trim(value);
  TRY(edit.pattern, parse_edit_pattern(edit.request, request.what));
  if (request.what == What::kEntries && edit.request.find('/') == std::string::npos) {
    return fail(Error::Kind::kConfig, "-Me, -MX or -M# requires service_name/type");
  }
  return edit;
}

// What the edits make of one service; nothing when none of them is about it.
Result<Verdict> judge(const Service& service, const MasterRequest& request,
                      std::vector<Edit>& edits) {
  using Action = MasterRequest::Action;
  Verdict verdict;
  Service current = service;
  for (Edit& edit : edits) {
    if (!fits(edit.pattern, current)) continue;
    const bool is_repeated = std::exchange(edit.is_matched, true);
    if (request.what == What::kEntries) {
      // The new entry stands for all of its name.
      if (is_repeated && request.action == Action::kEdit) {
        return Verdict{Verdict::Change::kRemove, ""};
      }
      if (request.action == Action::kRemove) return Verdict{Verdict::Change::kRemove, ""};
      if (request.action == Action::kComment) return Verdict{Verdict::Change::kComment, ""};
      TRY(current, config::parse_service(edit.value, "", 0));
    } else if (request.what == What::kFields) {
      if (edit.pattern.detail == "*") {
        return fail(Error::Kind::kConfig, fmt::format("-F needs a field: \"{}\"", edit.request));
      }
      const auto* const column = std::ranges::find(kMasterColumnNames, edit.pattern.detail);
      TRY(current,
          with_field(current, static_cast<std::size_t>(column - kMasterColumnNames.begin()),
                     edit.value));
    } else {
      if (edit.pattern.detail == "*" && request.action == Action::kEdit) {
        return fail(Error::Kind::kConfig,
                    fmt::format("-P needs a parameter: \"{}\"", edit.request));
      }
      std::vector<std::string> names{edit.pattern.detail};
      if (edit.pattern.detail == "*") {
        names.clear();
        for (const auto& [name, value] : current.overrides) names.push_back(name);
      }
      for (const std::string& name : names) {
        std::optional<std::string_view> value;
        if (request.action == Action::kEdit) value = edit.value;
        TRY(current, with_param(current, name, value));
      }
    }
    verdict.change = Verdict::Change::kReplace;
  }
  if (verdict.change == Verdict::Change::kReplace) {
    verdict.text = print_service(current, MasterStyle::kFolded);
  }
  return verdict;
}

}  // namespace

Result<std::vector<MasterRow>> find_rows(const std::vector<Service>& services, What what,
                                         std::string_view text) {
  TRY(const Pattern pattern, parse_pattern(text, what));
  std::vector<MasterRow> rows;
  for (const Service& service : services) {
    if (!fits(pattern, service)) continue;
    const std::string prefix = fmt::format("{}/{}", service.name, name_of(service.type));
    if (what == What::kEntries) {
      rows.push_back({&service, prefix, ""});
    } else if (what == What::kFields) {
      for (std::size_t i = 0; i < kMasterColumns; ++i) {
        if (!fits(pattern.detail, kMasterColumnNames[i])) continue;
        rows.push_back(
            {&service, fmt::format("{}/{}", prefix, kMasterColumnNames[i]), field_of(service, i)});
      }
    } else {
      std::map<std::string, std::string> values;
      for (const auto& [name, value] : service.overrides) values[name] = value;
      for (const auto& [name, value] : values) {
        if (!fits(pattern.detail, name)) continue;
        rows.push_back({&service, fmt::format("{}/{}", prefix, name), value});
      }
    }
  }
  return rows;
}

Result<std::string> edit_entries(std::string_view text, const MasterRequest& request,
                                 std::vector<std::string>& unmatched) {
  std::vector<Edit> edits;
  for (const std::string& argument : request.edits) {
    if (argument.find('\n') != std::string::npos) {
      return fail(Error::Kind::kConfig, "edits accept no multi-line input");
    }
    TRY(Edit edit, parse_edit(argument, request));
    edits.push_back(std::move(edit));
  }
  std::optional<Error> error;
  std::string out = edit_master_cf(text, [&](const Service& service) {
    auto verdict = judge(service, request, edits);
    if (verdict) return *std::move(verdict);
    if (!error) error = verdict.error();
    return Verdict{};
  });
  for (const Edit& edit : edits) {
    if (edit.is_matched) continue;
    const bool adds = request.what == What::kEntries &&
                      request.action == MasterRequest::Action::kEdit &&
                      edit.pattern.service != "*" && edit.pattern.type != "*";
    // An entry that is not there need not be removed.
    if (!adds && request.what != What::kEntries) unmatched.push_back(edit.argument);
    if (!adds) continue;
    TRY(const Service service, config::parse_service(edit.value, "", 0));
    out += print_service(service, MasterStyle::kFolded) + "\n";
  }
  if (error) return std::unexpected(*std::move(error));
  return out;
}

}  // namespace postern::control
