#include "postern/check.h"

#include <fmt/format.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/config/inet_service.h"
#include "common/config/lint.h"
#include "common/config/param.h"
#include "common/config/params/smtpd.h"
#include "common/config/programs.h"
#include "common/config/values.h"
#include "common/daemon/confinement.h"
#include "common/policy/list.h"
#include "common/policy/sender_quota.h"
#include "common/table/server_wire.h"
#include "common/table/source.h"
#include "common/table/table.h"
#include "postern/certificates.h"
#include "postern/confinement_report.h"
#include "postern/mail_system.h"
#include "postern/owners.h"

namespace postern::control {

namespace {

using namespace config;

std::shared_ptr<const Snapshot> unowned(const Snapshot& snapshot) {
  return {std::shared_ptr<const Snapshot>(), &snapshot};
}

// What a value's words of the form type:name say about tables.
struct FileType {
  std::string_view type, suffix;
};
constexpr FileType kFileTypes[] = {{"hash", ".db"}, {"btree", ".db"}, {"lmdb", ".lmdb"},
                                   {"cdb", ".cdb"}, {"texthash", ""}, {"regexp", ""},
                                   {"pcre", ""},    {"cidr", ""},     {"sqlite", ""}};

// Known by name, but only some builds have them.
constexpr std::string_view kOtherTypes[] = {
    "environ", "fail",  "internal", "ldap",  "memcache", "mongodb", "mysql",    "nis",
    "nisplus", "pgsql", "pipemap",  "proxy", "randmap",  "redis",   "unionmap", "unix"};

bool is_known_type(std::string_view type) {
  static const std::vector<std::string> built_in = table::known_types();
  return std::ranges::find(built_in, type) != built_in.end();
}

bool is_other_type(std::string_view type) {
  return std::ranges::find(kOtherTypes, type) != std::end(kOtherTypes);
}

// Says what is wrong with one table, or nothing. `is_plain` is a list where a word with a colon
// need not be a table.
void check_table(const Values& values, std::string_view parameter, std::string_view word,
                 bool is_plain, Problems& problems) {
  while (word.starts_with('!')) word.remove_prefix(1);
  while (word.starts_with("proxy:")) word.remove_prefix(6);
  const auto [type, name] = split_at_first(word, ':');
  if (word.find(':') == std::string_view::npos) {
    if (!is_plain && !word.empty() && !word.starts_with('/')) {
      problems.push_back(values.problem(
          parameter, fmt::format("\"{:.80}\" is no table: type:name expected", word)));
    }
    return;
  }
  const bool is_set = values.is_set(parameter);
  const auto* const file_type = std::ranges::find(kFileTypes, type, &FileType::type);
  if (file_type == std::end(kFileTypes)) {
    if (type == "unionmap" || type == "pipemap") {
      // Each part is a table; the braces hold them together in a list, too.
      for (const auto part : split_words_braced(table::inside_braces(name).value_or(""))) {
        check_table(values, parameter, part, false, problems);
      }
      return;
    }
    if (is_plain || is_known_type(type)) return;
    if (table::is_server_table(word)) {
      const auto server = table::parse_server_table(word);
      if (!server) problems.push_back(values.problem(parameter, server.error().text));
      return;
    }
    if (is_other_type(type)) {
      problems.push_back(values.problem(
          parameter, fmt::format("{:.120}: table type {} is not supported yet", word, type),
          Severity::kWarning));
    } else {
      problems.push_back(values.problem(
          parameter, fmt::format("{:.120}: unknown table type \"{:.40}\"", word, type)));
    }
    return;
  }
  if (!name.starts_with('/')) return;  // inline patterns, or relative to the queue directory
  const std::string path = fmt::format("{}{}", name, file_type->suffix);
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    std::string text = fmt::format("{:.200}: {} is missing", word, path);
    struct stat source{};
    if (!file_type->suffix.empty() && stat(std::string(name).c_str(), &source) == 0) {
      text += parameter == "alias_maps" ? std::string("; make it with: newaliases")
                                        : fmt::format("; make it with: postmap {}", word);
    }
    // Nobody asked for the table of a default.
    problems.push_back(
        values.problem(parameter, std::move(text), is_set ? Severity::kError : Severity::kWarning));
    return;
  }
  struct stat source{};
  if (!file_type->suffix.empty() && stat(std::string(name).c_str(), &source) == 0 &&
      source.st_mtime > status.st_mtime) {
    problems.push_back(
        values.problem(parameter, fmt::format("{:.200} is older than its source {}", path, name),
                       Severity::kWarning));
  }
  // A file of patterns is read by those who name its faults line by line.
  if (file_type->suffix.empty()) return;
  if (const auto opened = table::open_table(word); !opened) {
    problems.push_back(values.problem(parameter, opened.error().text));
  }
}

void check_tables_of(const Values& values, const ParamInfo& param, Problems& problems) {
  if (param.standing == Standing::kNotYet || param.standing == Standing::kNoEffect) return;
  if (param.name == "proxy_read_maps" || param.name == "proxy_write_maps") return;
  // Other defaults name no table of their own, but those of parameters that are looked at anyway.
  if (!values.is_set(param.name) && param.name != "alias_maps") return;
  const bool is_tables = param.type == ParamType::kTables;
  if (!is_tables && param.type != ParamType::kList && param.type != ParamType::kNetworks) return;
  const auto text = values.expanded(param.name);
  if (!text) return;  // said by check_values
  for (const std::string& word : split_list(*text)) {
    check_table(values, param.name, word, !is_tables, problems);
  }
}

void check_value(const Values& values, const ParamInfo& param, Problems& problems) {
  const auto text = values.expanded(param.name);
  if (!text) {
    problems.push_back(values.problem(param.name, text.error().text));
    return;
  }
  if (auto fault = find_fault(param, *text)) {
    problems.push_back(values.problem(param.name, std::move(*fault)));
  }
  if (param.type == ParamType::kNetworks) {
    std::vector<std::string> faults;
    (void)Networks::parse(*text, [&](std::string_view path) { return values.file(path); }, faults);
    for (std::string& fault : faults) {
      problems.push_back(values.problem(param.name, std::move(fault)));
    }
  }
}

// A parameter of one transport, which the table of names does not have.
void check_transport_value(const Values& values, std::string_view name, Problems& problems) {
  const auto transport = parse_transport_param(name);
  if (!transport) return;
  const auto text = values.expanded(name);
  if (!text) {
    problems.push_back(values.problem(name, text.error().text));
    return;
  }
  const ParamInfo like{name, transport->type, "0s", Standing::kSame, "", ""};
  if (auto fault = find_fault(like, *text)) {
    problems.push_back(values.problem(name, std::move(*fault)));
  }
}

bool has_user(const std::string& name) { return getpwnam(name.c_str()) != nullptr; }
bool has_group(const std::string& name) { return getgrnam(name.c_str()) != nullptr; }

std::string short_place(const Problem& problem, const std::string& directory) {
  std::string place = place_of(problem);
  const std::string prefix = directory + "/";
  if (place.starts_with(prefix)) place.erase(0, prefix.size());
  return place;
}

std::string_view word_of(Severity severity) {
  return severity == Severity::kError ? "error" : "warning";
}

// Each fault once, though several looks may have found it.
void remove_duplicates(Problems& problems) {
  std::set<std::string> seen;
  std::erase_if(problems, [&](const Problem& p) {
    return !seen.insert(fmt::format("{}\n{}", place_of(p), p.text)).second;
  });
}

}  // namespace

Problems check_values(const Snapshot& snapshot) {
  Problems problems;
  const auto shared = unowned(snapshot);
  const Values values(shared);
  for (const Setting& setting : snapshot.settings) {
    if (const auto param = find_param(setting.name)) {
      check_value(values, *param, problems);
    } else {
      check_transport_value(values, setting.name, problems);
    }
  }
  for (const Service& service : snapshot.services) {
    const Values scope(shared, service);
    for (const auto& [name, value] : service.overrides) {
      if (const auto param = find_param(name)) check_value(scope, *param, problems);
    }
  }
  if (values.list("inet_interfaces").empty()) {
    problems.push_back(values.problem("inet_interfaces", "no interface"));
  }
  for (const std::string_view name : {"myhostname", "mydomain", "queue_directory"}) {
    if (values.text(name).empty()) problems.push_back(values.problem(name, "must not be empty"));
  }
  for (const std::string_view name :
       {"queue_directory", "data_directory", "daemon_directory", "command_directory"}) {
    const std::string path = values.text(name);
    if (!path.empty() && !path.starts_with('/')) {
      problems.push_back(values.problem(name, fmt::format("{} is no absolute path", path)));
    }
  }
  return problems;
}

Problems check_services(const Snapshot& snapshot) {
  Problems problems;
  const Values values(unowned(snapshot));
  const std::string directory = values.text("daemon_directory");
  std::map<std::pair<std::string, ServiceType>, unsigned> line_of;
  const auto complain = [&](const Service& service, std::string text, Severity severity) {
    problems.push_back(
        {service.file, service.line, "", fmt::format("{}: {}", service.name, text), severity});
  };
  for (const Service& service : snapshot.services) {
    const auto [earlier, is_new] = line_of.try_emplace({service.name, service.type}, service.line);
    if (!is_new) {
      complain(service,
               fmt::format("overrides the {} service of the same name in line {}",
                           name_of(service.type), earlier->second),
               Severity::kWarning);
      earlier->second = service.line;
    }
    const auto known = find_service_program(service.program);
    if (known && known->daemon.empty()) continue;  // accepted, starts nothing
    const std::string program = known ? std::string(known->daemon) : service.program;
    const std::string path = fmt::format("{}/{}", directory, program);
    if (program.find('/') != std::string::npos) {
      complain(service, fmt::format("program \"{}\" must be in {}", program, directory),
               Severity::kError);
    } else if (access(path.c_str(), X_OK) != 0) {
      if (known) {
        complain(
            service,
            fmt::format("program {} is not supported yet: {} is missing", service.program, path),
            Severity::kWarning);
      } else {
        complain(service, fmt::format("unknown program: {} is missing", path), Severity::kError);
      }
    }
  }
  return problems;
}

Problems check_tables(const Snapshot& snapshot) {
  Problems problems;
  const auto shared = unowned(snapshot);
  const Values values(shared);
  for (const ParamInfo param : all_params()) check_tables_of(values, param, problems);
  for (const Service& service : snapshot.services) {
    const Values scope(shared, service);
    for (const auto& [name, value] : service.overrides) {
      if (const auto param = find_param(name)) {
        check_tables_of(scope, *param, problems);
      }
    }
  }
  return problems;
}

Problems check_restrictions(const Snapshot& snapshot) {
  Problems problems;
  const auto shared = unowned(snapshot);
  for (const Service& service : snapshot.services) {
    if (service.program != "smtpd") continue;
    const Values values(shared, service);
    Problems said;  // by check_values
    const auto params = load<SmtpdParams>(values, said);
    const auto lists = policy::parse_restriction_lists(params, values, problems);
    policy::find_odd_restrictions(lists, values, problems);
    (void)policy::read_sender_quota(values, problems);
    policy::visit_lists(lists, [&](std::string_view parameter, const auto& list, auto) {
      for (const auto& restriction : list) {
        if (restriction.check != policy::Check::kAccess) continue;
        check_table(values, parameter, restriction.argument, false, problems);
      }
    });
    if (policy::has_relay_guard(lists)) continue;
    problems.push_back({service.file, service.line, "smtpd_relay_restrictions",
                        fmt::format("{}: neither smtpd_relay_restrictions nor "
                                    "smtpd_recipient_restrictions has one of "
                                    "reject_unauth_destination, defer_unauth_destination, reject, "
                                    "defer, defer_if_permit, check_relay_domains",
                                    service.name),
                        Severity::kError});
  }
  return problems;
}

Problems check_listeners(const Snapshot& snapshot) {
  struct Listener {
    const Service* service;
    std::string host;
  };
  Problems problems;
  const Values values(unowned(snapshot));
  const bool is_all = values.text("inet_interfaces") == "all";
  std::map<std::string, std::vector<Listener>> by_port;
  for (const Service& service : snapshot.services) {
    if (service.type != ServiceType::kInet) continue;
    const auto known = find_service_program(service.program);
    if (known && known->daemon.empty()) continue;
    auto [host, name] = split_inet_service(service.name);
    const auto number = find_tcp_port(values, name);
    if (!number) {
      problems.push_back({service.file, service.line, "",
                          fmt::format("{}: {}", service.name, number.error().text),
                          Severity::kWarning});
    }
    const std::string port = number ? std::to_string(*number) : name;
    std::vector<Listener>& others = by_port[port];
    for (const Listener& other : others) {
      // The same name twice is said by check_services: there the later line counts.
      if (other.service->name == service.name) continue;
      // One without a host listens on all of inet_interfaces.
      const bool is_one_of_all = is_all && other.host.empty() != host.empty();
      if (other.host != host && !is_one_of_all) continue;
      problems.push_back({service.file, service.line, "",
                          fmt::format("{}: {} in line {} listens on the same port{}", service.name,
                                      other.service->name, other.service->line,
                                      is_one_of_all ? " of all addresses" : ""),
                          is_one_of_all ? Severity::kWarning : Severity::kError});
    }
    others.push_back({&service, host});
  }
  return problems;
}

Problems check_accounts(const Snapshot& snapshot) {
  Problems problems;
  const Values values(unowned(snapshot));
  for (const std::string_view name : {"mail_owner", "default_privs"}) {
    const std::string user = values.text(name);
    if (!has_user(user)) {
      problems.push_back(values.problem(name, fmt::format("there is no user \"{}\"", user)));
    } else if (name == "mail_owner" && getpwnam(user.c_str())->pw_uid == 0) {
      problems.push_back(values.problem(name, "must not be the superuser"));
    }
  }
  const std::string group = values.text("setgid_group");
  if (!has_group(group)) {
    problems.push_back(
        values.problem("setgid_group", fmt::format("there is no group \"{}\"", group)));
  }
  if (values.text("mail_owner") == values.text("default_privs")) {
    problems.push_back(values.problem("default_privs", "must not be mail_owner's account"));
  }
  return problems;
}

Problems check_configuration(const Loaded& loaded) {
  const Snapshot& snapshot = *loaded.snapshot;
  Problems problems = loaded.problems;
  for (Problems found : {lint_names(snapshot), check_values(snapshot), check_services(snapshot),
                         check_listeners(snapshot), check_chroots(snapshot), check_logins(snapshot),
                         check_restrictions(snapshot), check_tables(snapshot),
                         check_accounts(snapshot), check_owners(Values(unowned(snapshot)))}) {
    std::ranges::move(found, std::back_inserter(problems));
  }
  remove_duplicates(problems);
  // main.cf, master.cf, then what is in neither; the order of finding within a line.
  const auto rank = [&](const Problem& p) {
    if (p.file.ends_with("/main.cf") && p.line != 0) return 0;
    if (p.file.ends_with("/master.cf")) return 1;
    return p.file.empty() ? 2 : 3;
  };
  std::vector<std::size_t> order(problems.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(
      order, {}, [&](std::size_t i) { return std::tuple(rank(problems[i]), problems[i].line, i); });
  Problems sorted;
  for (const std::size_t i : order) sorted.push_back(std::move(problems[i]));
  return sorted;
}

std::string print_problems(const Problems& problems, const std::string& directory) {
  std::size_t width = 0;
  for (const Problem& problem : problems) {
    width = std::max(width, std::min<std::size_t>(short_place(problem, directory).size(), 40));
  }
  std::string out;
  std::size_t errors = 0;
  for (const Problem& problem : problems) {
    out += fmt::format("{:<{}}  {:<7}  {}\n", short_place(problem, directory), width,
                       word_of(problem.severity), problem.text);
    if (problem.severity == Severity::kError) ++errors;
  }
  if (problems.empty()) return out;
  const std::size_t warnings = problems.size() - errors;
  out += fmt::format("{} error{}, {} warning{}\n", errors, errors == 1 ? "" : "s", warnings,
                     warnings == 1 ? "" : "s");
  return out;
}

std::string print_problems_json(const Problems& problems) {
  auto list = nlohmann::ordered_json::array();
  for (const Problem& problem : problems) {
    nlohmann::ordered_json object;
    object["file"] = problem.file;
    object["line"] = problem.line;
    object["severity"] = word_of(problem.severity);
    object["parameter"] = problem.parameter;
    object["text"] = problem.text;
    list.push_back(std::move(object));
  }
  // Bytes that are not UTF-8 come out as U+FFFD: the library would throw otherwise.
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

namespace {

// No problem: it is how Postfix runs, and a machine may give no more.
void print_note_on_accounts(const Values& values) {
  const std::string why = daemon::why_accounts_are_shared(values);
  if (why.empty()) return;
  fmt::print(
      "note: daemons share the account of mail_owner: {}; \"postern set-permissions\" parts "
      "them\n",
      why);
}

}  // namespace

int check_main(int argc, char** argv) {
  std::string option_directory;
  bool is_strict = false;
  bool is_json = false;
  bool is_verbose = false;
  static const option kOptions[] = {{"strict", no_argument, nullptr, 's'},
                                    {"json", no_argument, nullptr, 'j'},
                                    {nullptr, 0, nullptr, 0}};
  int letter = 0;
  while ((letter = getopt_long(argc, argv, "c:v", kOptions, nullptr)) != -1) {
    switch (letter) {
      case 'c':
        option_directory = optarg;
        break;
      case 's':
        is_strict = true;
        break;
      case 'j':
        is_json = true;
        break;
      case 'v':
        is_verbose = true;
        break;
      default:
        fmt::print(stderr, "usage: postern check [-v] [-c DIR] [--strict] [--json]\n");
        return 1;
    }
  }
  const InstallPaths paths = find_install_paths();
  const auto directory = choose_config_directory(option_directory, paths);
  if (!directory) {
    fmt::print(stderr, "postern: fatal: {}\n", directory.error().text);
    return 1;
  }
  const auto loaded = load_configuration(directory->path, paths);
  if (!loaded) {
    fmt::print(stderr, "postern: fatal: {}\n", loaded.error().text);
    return 1;
  }
  Problems problems = check_configuration(*loaded);
  for (auto& problem : check_certificates(loaded->snapshot)) problems.push_back(std::move(problem));
  for (auto& problem : check_busy_ports(*loaded->snapshot)) problems.push_back(std::move(problem));
  fmt::print("{}",
             is_json ? print_problems_json(problems) : print_problems(problems, directory->path));
  if (!is_json) print_note_on_accounts(Values(loaded->snapshot));
  if (is_verbose && !is_json) {
    const MailSystem system{paths, directory->path, *loaded};
    const auto master = system.running();
    fmt::print("{}", master ? print_confinement(*master)
                            : "The mail system is not running: no confinement to be shown.\n");
  }
  return has_error(problems) || (is_strict && !problems.empty()) ? 1 : 0;
}

}  // namespace postern::control
