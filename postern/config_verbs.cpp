// config_verbs.cpp - `postern config get, set, unset, undo, diff`: main.cf changed with a preview
// and a way back.
//
// Each change keeps the file as it was before in main.cf.undo beside it, one step back; undo
// exchanges the two, so that undo twice is where one was.

#include "postern/config_verbs.h"

#include <fmt/format.h>
#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/text.h"
#include "common/config/lint.h"
#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "common/config/param.h"
#include "common/config/values.h"
#include "postern/config_edit.h"
#include "postern/manual.h"

namespace postern::control {

namespace {

using namespace config;

int fail_with(std::string_view text) {
  fmt::print(stderr, "postern config: {}\n", text);
  return 1;
}

bool uses_colour() {
  const char* const no_color = ::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) != 0 && (no_color == nullptr || *no_color == '\0');
}

struct Request {
  std::string directory;
  bool is_dry_run = false;
  bool is_json = false;
  std::vector<std::string> words;
};

std::optional<Request> parse(int argc, char** argv) {
  static constexpr option kOptions[] = {{"dry-run", no_argument, nullptr, 'n'},
                                        {"json", no_argument, nullptr, 'j'},
                                        {"why", no_argument, nullptr, 'w'},
                                        {nullptr, 0, nullptr, 0}};
  Request request;
  std::string directory;
  ::optind = 0;
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "c:jnvw", kOptions, nullptr)) != -1;) {
    if (letter == 'c') directory = ::optarg;
    if (letter == 'j') request.is_json = true;
    if (letter == 'n') request.is_dry_run = true;
    if (letter == '?') return std::nullopt;
  }
  for (int i = ::optind; i < argc; ++i) request.words.emplace_back(argv[i]);
  const auto chosen = choose_config_directory(directory, find_install_paths());
  if (!chosen) {
    fail_with(chosen.error().text);
    return std::nullopt;
  }
  request.directory = chosen->path;
  return request;
}

// What is wrong with a setting before it is written, in plain words.
std::optional<std::string> find_mistake(const Values& values, std::string_view name,
                                        std::string_view value) {
  if (!is_parameter_name(name)) return fmt::format("\"{}\" cannot be a parameter's name", name);
  const auto param = find_param(name);
  if (!param) {
    if (is_used_name(values.snapshot(), name)) return std::nullopt;
    const auto nearest = nearest_param(name);
    if (!nearest) return std::nullopt;  // a name of the user's own
    return fmt::format("{}: unknown parameter; did you mean {}?", name, *nearest);
  }
  const auto expanded = values.with(name, value).expanded(name);
  if (!expanded) return fmt::format("{}: {}", name, expanded.error().text);
  if (param->type == ParamType::kRawText) return std::nullopt;
  if (const auto fault = find_fault(*param, *expanded)) return fmt::format("{}: {}", name, *fault);
  return std::nullopt;
}

int change(const Request& request, const std::vector<MainEdit>& edits) {
  const std::string path = request.directory + "/main.cf";
  const auto before = read_file(path, kMaxConfigFile);
  if (!before) return fail_with(before.error().text);
  const std::string after = edit_main_cf(*before, edits);
  fmt::print("{}", line_difference(*before, after, uses_colour()));
  if (request.is_dry_run || after == *before) return 0;
  // The way back is there before the change is.
  if (const auto kept = keep_undo(path, *before); !kept) return fail_with(kept.error().text);
  const auto done = edit_file(path, [&](std::string_view text) -> Result<std::string> {
    if (text != *before) {
      return fail(Error::Kind::kTemporary, path + " was changed by somebody else meanwhile");
    }
    return after;
  });
  if (!done) return fail_with(done.error().text);
  fmt::print(stderr, "postern reload puts it into effect, postern config undo takes it back\n");
  return 0;
}

int set(const Request& request, bool is_forced) {
  if (request.words.empty()) return fail_with("usage: postern config set [-n] name=value...");
  const auto loaded =
      load_configuration(request.directory, find_install_paths(), Extent::kWithoutNetwork);
  if (!loaded) return fail_with(loaded.error().text);
  const Values values(loaded->snapshot);
  std::vector<MainEdit> edits;
  bool is_wrong = false;
  for (const auto& word : request.words) {
    const auto setting = parse_setting(word);
    if (!setting) return fail_with(fmt::format("\"{}\": name=value expected", word));
    if (const auto mistake = find_mistake(values, setting->first, setting->second)) {
      fail_with(*mistake);
      is_wrong = true;
    }
    if (!values.raw(setting->first)) {
      fmt::print(stderr, "postern config: {}: no parameter, but a name of your own, for ${}\n",
                 setting->first, setting->first);
    }
    edits.push_back({MainEdit::Kind::kSet, setting->first, setting->second});
  }
  if (is_wrong && !is_forced) return 1;
  return change(request, edits);
}

int unset(const Request& request) {
  if (request.words.empty()) return fail_with("usage: postern config unset [-n] name...");
  std::vector<MainEdit> edits;
  for (const auto& word : request.words) edits.push_back({MainEdit::Kind::kRemove, word, ""});
  return change(request, edits);
}

// A value, where it is from, and what the parameter is for.
void print_known(const Values& values, const std::string& name) {
  const auto param = find_param(name);
  const Setting* const setting = values.snapshot().find(name);
  fmt::print("{} = {}\n", name,
             param && param->type == ParamType::kSecret ? "(secret)" : values.text(name));
  if (setting != nullptr) {
    fmt::print("  set in {}, line {}: {}\n", setting->file, setting->line, setting->value);
  } else {
    fmt::print("  the default\n");
  }
  if (param) fmt::print("  {}\n  ({})\n", param->doc, parameter_facts(*param));
}

void print_known_json(const Values& values, const std::string& name) {
  const auto param = find_param(name);
  const Setting* const setting = values.snapshot().find(name);
  nlohmann::ordered_json object = {{"name", name}};
  if (!param || param->type != ParamType::kSecret) object["value"] = values.text(name);
  if (setting != nullptr) {
    object["file"] = setting->file;
    object["line"] = setting->line;
  }
  if (const auto initial = values.raw_default(name)) object["default"] = *initial;
  if (param) {
    object["facts"] = parameter_facts(*param);
    object["description"] = param->doc;
  }
  fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

int get(const Request& request) {
  const auto loaded = load_configuration(request.directory, find_install_paths());
  if (!loaded) return fail_with(loaded.error().text);
  const Values values(loaded->snapshot);
  int status = 0;
  for (const auto& name : request.words) {
    if (!values.raw(name)) {
      const auto nearest = nearest_param(name);
      fail_with(nearest ? fmt::format("{}: unknown parameter; did you mean {}?", name, *nearest)
                        : fmt::format("{}: unknown parameter", name));
      status = 1;
      continue;
    }
    if (request.is_json) {
      print_known_json(values, name);
    } else {
      print_known(values, name);
    }
  }
  return status;
}

// What main.cf sets that is not the default.
int diff(const Request& request) {
  const auto loaded = load_configuration(request.directory, find_install_paths());
  if (!loaded) return fail_with(loaded.error().text);
  const Values values(loaded->snapshot);
  for (const Setting& setting : loaded->snapshot->settings) {
    const auto initial = values.raw_default(setting.name);
    if (initial && *initial == setting.value) continue;
    if (initial) fmt::print("-{} = {}\n", setting.name, *initial);
    fmt::print("+{} = {}\n", setting.name, setting.value);
  }
  return 0;
}

int undo(const Request& request) {
  const std::string path = request.directory + "/main.cf";
  const auto earlier = read_file(path + ".undo", kMaxConfigFile);
  if (!earlier) return fail_with("nothing to take back: " + earlier.error().text);
  const auto now = read_file(path, kMaxConfigFile);
  if (!now) return fail_with(now.error().text);
  fmt::print("{}", line_difference(*now, *earlier, uses_colour()));
  if (request.is_dry_run) return 0;
  const auto done =
      edit_file(path, [&](std::string_view) -> Result<std::string> { return *earlier; });
  if (!done) return fail_with(done.error().text);
  if (const auto kept = keep_undo(path, *now); !kept) return fail_with(kept.error().text);
  return 0;
}

}  // namespace

std::string line_difference(std::string_view before, std::string_view after, bool colour) {
  // Edits of settings leave most lines alone: what is common at both ends is passed over, and what
  // is between is shown line by line where it differs.
  auto a = split_fields(before, '\n');
  auto b = split_fields(after, '\n');
  std::size_t start = 0;
  while (start < a.size() && start < b.size() && a[start] == b[start]) ++start;
  std::size_t end = 0;
  while (end < a.size() - start && end < b.size() - start &&
         a[a.size() - 1 - end] == b[b.size() - 1 - end]) {
    ++end;
  }
  std::vector<std::string_view> gone(a.begin() + static_cast<std::ptrdiff_t>(start),
                                     a.end() - static_cast<std::ptrdiff_t>(end));
  std::vector<std::string_view> come(b.begin() + static_cast<std::ptrdiff_t>(start),
                                     b.end() - static_cast<std::ptrdiff_t>(end));
  std::string out;
  const auto print = [&](char sign, std::string_view line) {
    const std::string_view paint = sign == '-' ? "\033[31m" : "\033[32m";
    out += fmt::format("{}{}{}{}\n", colour ? paint : "", sign, line, colour ? "\033[0m" : "");
  };
  for (const auto line : gone) {
    if (std::ranges::find(come, line) == come.end()) print('-', line);
  }
  for (const auto line : come) {
    if (std::ranges::find(gone, line) == gone.end()) print('+', line);
  }
  return out;
}

Result<void> keep_undo(const std::string& path, std::string_view text) {
  const std::string copy = path + ".undo";
  if (::access(copy.c_str(), F_OK) != 0) {
    std::FILE* const made = std::fopen(copy.c_str(), "wxe");
    if (made == nullptr) return fail_temporary("cannot make " + copy);
    std::fclose(made);
  }
  return edit_file(copy,
                   [&](std::string_view) -> Result<std::string> { return std::string(text); });
}

int config_verb_main(int argc, char** argv) {
  const std::string_view verb = argv[0];
  const bool is_forced = argc > 1 && std::string_view(argv[1]) == "--force";
  if (is_forced) {
    ++argv;
    --argc;
  }
  const auto request = parse(argc, argv);
  if (!request)
    return fail_with("usage: postern config get|set|unset|diff|undo [-c DIR] [-n] [--json] ...");
  if (verb == "get" || verb == "show") return get(*request);
  if (verb == "set") return set(*request, is_forced);
  if (verb == "unset") return unset(*request);
  if (verb == "diff") return diff(*request);
  return undo(*request);
}

}  // namespace postern::control
