#include "postern/check.h"

#include <fmt/format.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "common/config/lint.h"
#include "common/config/param.h"
#include "common/config/params/smtpd.h"
#include "common/config/tool_log.h"
#include "common/config/values.h"
#include "common/daemon/confinement.h"
#include "common/policy/list.h"
#include "common/policy/sender_quota.h"
#include "postern/certificates.h"
#include "postern/check_tables.h"
#include "postern/confinement_report.h"
#include "postern/mail_system.h"
#include "postern/owners.h"

namespace postern::control {

namespace {

using namespace config;

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
  const std::string log = values.text("maillog_file");
  if (!log.empty() && !is_allowed_log_file(log, values.list("maillog_file_prefixes"))) {
    problems.push_back(values.problem(
        "maillog_file",
        fmt::format("'{}' does not match any prefix in maillog_file_prefixes", log)));
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
