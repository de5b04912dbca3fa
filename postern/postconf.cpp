#include "postern/postconf.h"

#include <fmt/format.h>
#include <getopt.h>
#include <openssl/opensslv.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bounce/template.h"
#include "common/base/text.h"
#include "common/config/lint.h"
#include "common/config/load.h"
#include "common/config/param.h"
#include "common/config/values.h"
#include "common/table/table.h"
#include "postern/config_edit.h"
#include "postern/master_entries.h"

namespace postern::control {

namespace {

using namespace config;

enum class Target : unsigned char { kMain, kEntries, kFields, kServiceParams };
enum class Action : unsigned char { kShow, kEdit, kComment, kRemove };
enum NameClass : unsigned { kBuiltin = 1, kService = 2, kUser = 4, kAllClasses = 7 };

struct Request {
  Target target = Target::kMain;
  Action action = Action::kShow;
  bool defaults = false;     // -d
  bool only_set = false;     // -n
  bool expand = false;       // -x
  bool fold = false;         // -f
  bool hide_names = false;   // -h
  bool hide_values = false;  // -H
  bool quiet = false;        // -q
  unsigned classes = kAllClasses;
  std::string directory;
  bool directory_is_given = false;  // -c or MAIL_CONFIG: config_directory counts as set
  bool as_json = false;             // -j
  std::vector<std::pair<std::string, std::string>> overrides;  // -o
  std::vector<std::string> names;
};

void warn(std::string_view text) { fmt::print(stderr, "postconf: warning: {}\n", text); }

int fatal(std::string_view text) {
  fmt::print(stderr, "postconf: fatal: {}\n", text);
  return 1;
}

constexpr std::size_t kFoldColumn = 80;

// One blank between words; with -f long lines are broken there.
std::string tidy(std::string_view line, bool fold) {
  std::string out;
  std::size_t column = 0;
  std::string_view rest = line;
  for (std::string_view word = next_word(rest, kBlanks); !word.empty();
       word = next_word(rest, kBlanks)) {
    if (fold && column > 0 && column + 1 + word.size() > kFoldColumn) {
      out += "\n    ";
      column = 4;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

// -j: one object a line, so that streams can be read.
void print_json(std::string_view name, std::string_view value) {
  const nlohmann::ordered_json line = {{"name", name}, {"value", value}};
  fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_value(const Request& request, std::string_view name, std::string_view value) {
  std::string line;
  if (request.hide_values) {
    line = name;
  } else if (request.hide_names) {
    line = value;
  } else {
    line = fmt::format("{} = {}", name, value);
  }
  fmt::print("{}\n", tidy(line, request.fold));
}

// Names of old that only the defaults of others still mention: Postfix counts them as the user's.
constexpr std::string_view kLegacyNames[] = {"fallback_relay", "virtual_maps"};

bool is_legacy(std::string_view name) {
  return std::ranges::find(kLegacyNames, name) != std::end(kLegacyNames);
}

// Shows parameters of main.cf.
class MainViewer {
 public:
  MainViewer(const Request& request, std::shared_ptr<const Snapshot> snapshot)
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

  void show_all() const {
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
        const bool is_overridden =
            std::ranges::any_of(snapshot_->services, [&](const auto& service) {
              return std::ranges::any_of(service.overrides,
                                         [&](const auto& pair) { return pair.first == name; });
            });
        if (is_overridden || snapshot_->find(name) != nullptr) names.emplace(name);
      }
    }
    for (const std::string& name : names) {
      if (!request_.only_set || is_set(name)) show(name);
    }
  }

  void show_named() const {
    for (const std::string& name : request_.names) {
      if (!is_known(name)) {
        if (!request_.quiet) warn(fmt::format("{}: unknown parameter", name));
        continue;
      }
      if (!request_.only_set || is_set(name)) show(name);
    }
  }

  void warn_undefined() const {
    if (request_.quiet) return;
    for (const std::string& name : referenced_names(*snapshot_)) {
      if (!values_.raw(name) && !parse_transport_param(name)) {
        warn(fmt::format("{}/main.cf: undefined parameter: {}", snapshot_->config_directory, name));
      }
    }
  }

  void warn_unused() const {
    if (request_.quiet) return;
    for (const Setting& setting : snapshot_->settings) {
      if (is_known(setting.name)) continue;
      warn(fmt::format("{}: unused parameter: {}={}", setting.file, setting.name, setting.value));
    }
    warn_unused_services();
  }

  void warn_unused_services() const {
    if (request_.quiet) return;
    for (const Service& service : snapshot_->services) {
      for (const auto& [name, value] : service.overrides) {
        if (is_known(name) || is_referenced(name)) continue;
        warn(fmt::format("{}: unused parameter: {}={}", service.file, name, value));
      }
    }
  }

 private:
  [[nodiscard]] bool is_set(std::string_view name) const {
    if (name == "config_directory" && request_.directory_is_given) return true;
    return snapshot_->find(name) != nullptr;
  }

  // <transport>_destination_concurrency_limit and kin belong to delivery agents in master.cf.
  [[nodiscard]] bool is_service_name(std::string_view name) const {
    const auto transport = parse_transport_param(name);
    if (!transport) return false;
    return std::ranges::any_of(snapshot_->services, [&](const Service& service) {
      return service.type != ServiceType::kInet && service.name == transport->transport;
    });
  }

  static void add_service_names(const Service& service, std::set<std::string, std::less<>>& names) {
    const std::string_view program = service.program;
    const bool is_agent = program == "smtp" || program == "lmtp" || program == "local" ||
                          program == "virtual" || program == "pipe" || program == "error" ||
                          program == "discard";
    if (service.type != ServiceType::kUnix || (!is_agent && program != "spawn")) return;
    for (const std::string_view suffix :
         {"_destination_concurrency_failed_cohort_limit", "_destination_concurrency_limit",
          "_destination_concurrency_negative_feedback",
          "_destination_concurrency_positive_feedback", "_destination_rate_delay",
          "_destination_recipient_limit", "_delivery_slot_cost", "_delivery_slot_discount",
          "_delivery_slot_loan", "_extra_recipient_limit", "_initial_destination_concurrency",
          "_minimum_delivery_slots", "_recipient_limit", "_recipient_refill_delay",
          "_recipient_refill_limit", "_transport_rate_delay"}) {
      if (is_agent) names.insert(fmt::format("{}{}", service.name, suffix));
    }
    if (program == "pipe" || program == "spawn") names.insert(service.name + "_time_limit");
  }

  [[nodiscard]] bool is_referenced(std::string_view name) const {
    const auto names = referenced_names(*snapshot_);
    return std::ranges::find(names, name) != names.end();
  }

  [[nodiscard]] bool is_known(std::string_view name) const {
    if (find_param(name) || is_service_name(name)) return true;
    return !request_.defaults && user_names_.contains(name);
  }

  [[nodiscard]] std::string raw(std::string_view name) const {
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

  void show(std::string_view name) const {
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
        warn(fmt::format("{}: {}", name, expanded.error().text));
      }
    }
    print_value(request_, name, value);
  }

  const Request& request_;
  std::shared_ptr<const Snapshot> snapshot_;
  Values values_;
  std::set<std::string, std::less<>> user_names_;
};

// The configuration with the -o values in it; with -d, what there would be without a main.cf.
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
      settings.push_back({name, value, "", 0});
  }
  Problems ignored;
  complete_snapshot(*loaded.snapshot, ignored);
  return loaded;
}

void warn_overridden(const Problems& problems) {
  for (const Problem& problem : problems) {
    const bool is_of_main_cf = problem.file.ends_with("/main.cf") && problem.parameter.empty();
    if (is_of_main_cf || problem.text.starts_with("overriding earlier entry")) {
      warn(log_text(problem));
    }
  }
}

int show_main(const Request& request) {
  const auto loaded = load_for(request);
  if (!loaded) return fatal(loaded.error().text);
  if (!request.quiet) warn_overridden(loaded->problems);
  const MainViewer viewer(request, loaded->snapshot);
  if (!request.defaults) viewer.warn_undefined();
  if (request.names.empty())
    viewer.show_all();
  else
    viewer.show_named();
  (void)std::fflush(stdout);
  if (!request.defaults) viewer.warn_unused();
  return 0;
}

int edit_main(const Request& request) {
  std::vector<MainEdit> edits;
  for (const std::string& argument : request.names) {
    if (argument.find('\n') != std::string::npos) {
      return fatal(fmt::format("-e, -X or -# accepts no multi-line input: \"{}\"", argument));
    }
    MainEdit edit;
    if (request.action == Action::kEdit) {
      auto setting = parse_setting(argument);
      if (!setting) return fatal(setting.error().text);
      edit.name = setting->first;
      edit.value = setting->second;
    } else {
      if (argument.find('=') != std::string::npos) {
        return fatal(fmt::format("specify one of -e {}: a value in \"{}\"",
                                 request.action == Action::kComment ? "-#" : "-X", argument));
      }
      edit.name = trim(argument);
      edit.kind =
          request.action == Action::kComment ? MainEdit::Kind::kComment : MainEdit::Kind::kRemove;
    }
    if (!is_parameter_name(edit.name)) {
      return fatal(fmt::format("bad parameter name: \"{}\"", edit.name));
    }
    edits.push_back(std::move(edit));
  }
  // Of several values for one name the last one counts.
  std::vector<MainEdit> unique;
  for (auto it = edits.rbegin(); it != edits.rend(); ++it) {
    if (std::ranges::find(unique, it->name, &MainEdit::name) == unique.end()) {
      unique.insert(unique.begin(), *it);
    }
  }
  const auto done = edit_file(
      request.directory + "/main.cf",
      [&](std::string_view text) -> Result<std::string> { return edit_main_cf(text, unique); });
  return done ? 0 : fatal(done.error().text);
}

int master(const Request& request) {
  const std::string path = request.directory + "/master.cf";
  MasterRequest master;
  master.what = request.target == Target::kEntries  ? MasterRequest::What::kEntries
                : request.target == Target::kFields ? MasterRequest::What::kFields
                                                    : MasterRequest::What::kParams;
  if (request.action == Action::kShow) {
    const auto loaded = load_for(request);
    std::optional<MainViewer> viewer;
    if (loaded) {
      if (!request.quiet) warn_overridden(loaded->problems);
      viewer.emplace(request, loaded->snapshot);
    }
    const auto text = read_file(path, kMaxConfigFile);
    if (!text) return fatal(text.error().text);
    const MasterCf cf = parse_master_cf(*text, path);
    for (const Problem& problem : cf.problems) warn(log_text(problem));
    std::vector<std::string> patterns = request.names;
    if (patterns.empty()) patterns.emplace_back("*");
    for (const std::string& pattern : patterns) {
      auto rows = find_rows(cf.services, master.what, pattern);
      if (!rows) return fatal(rows.error().text);
      if (rows->empty() && !request.names.empty() && !request.quiet) {
        warn(fmt::format("unmatched request: \"{}\"", pattern));
      }
      for (const MasterRow& row : *rows) {
        if (master.what == MasterRequest::What::kEntries && request.as_json) {
          print_json(fmt::format("{}/{}", row.service->name, name_of(row.service->type)),
                     print_service(*row.service, MasterStyle::kOneLine));
          continue;
        }
        if (master.what == MasterRequest::What::kEntries) {
          fmt::print("{}\n", print_service(*row.service, request.fold ? MasterStyle::kFolded
                                                                      : MasterStyle::kOneLine));
          continue;
        }
        std::string value = row.value;
        if (request.expand) {
          if (loaded) {
            const Service* const service =
                loaded->snapshot->find_service(row.service->name, row.service->type);
            if (service != nullptr) {
              value = Values(loaded->snapshot, *service).expand_text(value).value_or(value);
            }
          }
        }
        if (request.as_json) {
          print_json(row.name, value);
        } else {
          print_value(request, row.name, value);
        }
      }
    }
    (void)std::fflush(stdout);
    if (viewer) {
      viewer->warn_undefined();
      viewer->warn_unused_services();
    }
    return 0;
  }

  master.edits = request.names;
  master.action = request.action == Action::kEdit      ? MasterRequest::Action::kEdit
                  : request.action == Action::kComment ? MasterRequest::Action::kComment
                                                       : MasterRequest::Action::kRemove;
  std::vector<std::string> unmatched;
  const auto done =
      edit_file(path, [&](std::string_view text) { return edit_entries(text, master, unmatched); });
  if (!done) return fatal(done.error().text);
  for (const std::string& pattern : unmatched) {
    warn(fmt::format("unmatched request: \"{}\"", pattern));
  }
  return 0;
}

std::optional<unsigned> parse_classes(std::string_view text) {
  unsigned classes = 0;
  for (const std::string_view word : split_words(text)) {
    if (word == "builtin")
      classes |= kBuiltin;
    else if (word == "service")
      classes |= kService;
    else if (word == "user")
      classes |= kUser;
    else if (word == "all")
      classes |= kAllClasses;
    else
      return std::nullopt;
  }
  return classes;
}

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
  }
  return 0;
}

// The notices' templates: of the file named, else of bounce_template_file, else built in. With -b
// the names in them are replaced by their values.
int show_templates(const Request& request, std::string_view option_directory, bool expands) {
  const auto directory = choose_config_directory(option_directory, find_install_paths());
  if (!directory) return fatal(directory.error().text);
  const auto loaded = load_configuration(directory->path, find_install_paths());
  if (!loaded) return fatal(loaded.error().text);
  const Values values(loaded->snapshot);
  std::string file = request.names.empty() ? values.text("bounce_template_file") : "";
  if (!request.names.empty()) file = request.names.front();
  bounce::Templates templates = bounce::built_in_templates();
  if (!file.empty()) {
    const auto text = read_file(file, kMaxConfigFile);
    if (!text) return fatal(text.error().text);
    auto read = bounce::parse_templates(*text, templates);
    if (!read) return fatal(fmt::format("{}: {}", file, read.error().text));
    templates = *std::move(read);
  }
  const std::string text = bounce::print_templates(templates);
  if (!expands) {
    fmt::print("{}", text);
    return 0;
  }
  bounce::TemplateValues source;
  source.text = [&](std::string_view name) -> std::optional<std::string> {
    if (!values.raw(name)) return std::nullopt;
    return values.text(name);
  };
  source.duration = [&](std::string_view name) -> std::optional<std::chrono::seconds> {
    if (!values.raw(name)) return std::nullopt;
    return values.duration(name);
  };
  const auto expanded = bounce::expand_template(text, source);
  if (!expanded) return fatal(expanded.error().text);
  fmt::print("{}", *expanded);
  return 0;
}

// Options of which only one can be meant.
std::optional<std::string> find_conflict(std::string_view given) {
  constexpr std::string_view kGroups[] = {"dMFP", "dneX#"};
  for (const std::string_view group : kGroups) {
    std::string both;
    for (const char letter : group) {
      if (given.find(letter) != std::string_view::npos) both += fmt::format(" -{}", letter);
    }
    if (both.size() > 3) return "specify one of" + both;
  }
  return std::nullopt;
}

int usage() {
  return fatal(
      "usage: postconf [-a (server SASL types)] [-A (client SASL types)] [-c config_dir] "
      "[-C class] [-d (defaults)] [-e (edit)] [-f (fold)] [-F (master.cf fields)] [-h (values "
      "only)] "
      "[-H (names only)] [-l (lock types)] [-m (table types)] [-M (master.cf)] [-n (set only)] "
      "[-o name=value] [-p (main.cf)] [-P (master.cf parameters)] [-q (no warnings)] [-T mode] "
      "[-x (expand)] [-X (remove)] [-# (comment out)] [name...]");
}

}  // namespace

int postconf_main(int argc, char** argv) {
  Request request;
  std::string option_directory;
  bool has_action = false;
  int templates = 0;
  int letter = 0;
  std::string given;
  while ((letter = getopt(argc, argv, "+aAbc:C:deEfFhHjlmMno:pPqtT:vxX#")) != -1) {
    given += static_cast<char>(letter);
    switch (letter) {
      case 'a':
        return show_list({"cyrus", "dovecot"});
      case 'A':
        return show_list({"cyrus"});
      case 'l':
        return show_list({"flock", "fcntl", "dotlock"});
      case 'm':
        return show_table_types();
      case 'T':
        return show_tls(optarg);
      case 'b':
      case 't':
        templates = letter;
        break;
      case 'j':
        request.as_json = true;
        break;
      case 'c':
        option_directory = optarg;
        break;
      case 'C': {
        const auto classes = parse_classes(optarg);
        if (!classes) {
          return fatal(fmt::format("unknown -C option value \"{}\" in \"{}\"", optarg, optarg));
        }
        request.classes = *classes;
        break;
      }
      case 'd':
        request.defaults = true;
        break;
      case 'e':
        request.action = Action::kEdit, has_action = true;
        break;
      case 'f':
        request.fold = true;
        break;
      case 'F':
        request.target = Target::kFields;
        break;
      case 'h':
        request.hide_names = true;
        break;
      case 'H':
        request.hide_values = true;
        break;
      case 'M':
        request.target = Target::kEntries;
        break;
      case 'n':
        request.only_set = true;
        break;
      case 'o': {
        auto setting = parse_setting(optarg);
        if (!setting) return fatal(setting.error().text);
        request.overrides.push_back(*std::move(setting));
        break;
      }
      case 'p':
        request.target = Target::kMain;
        break;
      case 'P':
        request.target = Target::kServiceParams;
        break;
      case 'q':
        request.quiet = true;
        break;
      case 'x':
        request.expand = true;
        break;
      case 'X':
        request.action = Action::kRemove, has_action = true;
        break;
      case '#':
        request.action = Action::kComment, has_action = true;
        break;
      case 'E':
      case 'v':
        break;
      default:
        return usage();
    }
  }
  for (int i = optind; i < argc; ++i) request.names.emplace_back(argv[i]);

  if (templates != 0) return show_templates(request, option_directory, templates == 'b');

  // `postconf name=value` edits, -e or not.
  if (!has_action && !request.names.empty() &&
      request.names.front().find('=') != std::string::npos) {
    request.action = Action::kEdit;
  }
  if (const auto conflict = find_conflict(given)) return fatal(*conflict);
  if (request.action != Action::kShow && request.names.empty()) return usage();

  const auto directory = choose_config_directory(option_directory, find_install_paths());
  if (!directory) return fatal(directory.error().text);
  request.directory = directory->path;
  request.directory_is_given = !option_directory.empty() || getenv("MAIL_CONFIG") != nullptr;
  if (request.target != Target::kMain) return master(request);
  return request.action == Action::kShow ? show_main(request) : edit_main(request);
}

}  // namespace postern::control
