#include "postern/commands.h"

#include <algorithm>

#include "postern/ban.h"
#include "postern/check.h"
#include "postern/config_verbs.h"
#include "postern/dkim.h"
#include "postern/dns.h"
#include "postern/doctor.h"
#include "postern/explain.h"
#include "postern/greylist.h"
#include "postern/mail_system.h"
#include "postern/manual.h"
#include "postern/password.h"
#include "postern/postconf.h"
#include "postern/queue_tools.h"
#include "postern/quota.h"
#include "postern/report.h"
#include "postern/tls_verbs.h"

namespace postern::control {

namespace {

constexpr Command kPrograms[] = {
    {"postcat", postcat_main},     {"postconf", postconf_main}, {"postkick", postkick_main},
    {"postlock", postlock_main},   {"postlog", postlog_main},   {"postmulti", postmulti_main},
    {"postsuper", postsuper_main}, {"qshape", qshape_main},
};

int config_main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "man") return config_man_main(argc - 1, argv + 1);
  constexpr std::string_view kConfigVerbs[] = {"diff", "get", "set", "show", "undo", "unset"};
  if (argc > 1 &&
      std::ranges::find(kConfigVerbs, std::string_view(argv[1])) != std::end(kConfigVerbs)) {
    return config_verb_main(argc - 1, argv + 1);
  }
  return postconf_main(argc, argv);
}

constexpr Command kVerbs[] = {
    {"abort", abort_main},
    {"ban", ban_main},
    {"check", check_main},
    {"config", config_main},
    {"dkim", dkim_main},
    {"dns", dns_main},
    {"doctor", doctor_main},
    {"explain", explain_main},
    {"flush", flush_main},
    {"greylist", greylist_main},
    {"logrotate", logrotate_main},
    {"password", password_main},
    {"queue", queue_main},
    {"quota", quota_main},
    {"reload", reload_main},
    {"report", report_main},
    {"set-permissions", set_permissions_main},
    {"start", start_main},
    {"start-fg", start_fg_main},
    {"status", status_main},
    {"stop", stop_main},
    {"tls", tls_main},
    {"trace", trace_main},
    {"upgrade-configuration", upgrade_configuration_main},
    {"why", why_main},
};

}  // namespace

std::span<const Command> programs() { return kPrograms; }

std::span<const Command> verbs() { return kVerbs; }

bool is_for_all_instances(std::string_view verb) {
  constexpr std::string_view kShared[] = {
      "abort",           "check", "flush",  "logrotate", "reload",
      "set-permissions", "start", "status", "stop",      "upgrade-configuration"};
  return std::ranges::find(kShared, verb) != std::end(kShared);
}

const Command* find_verb(std::string_view word) {
  constexpr std::size_t kLeastLetters = 3;
  const Command* found = nullptr;
  for (const Command& command : kVerbs) {
    if (command.name == word) return &command;
    if (word.size() < kLeastLetters || !command.name.starts_with(word)) continue;
    if (found != nullptr) return nullptr;
    found = &command;
  }
  return found;
}

Main find_command(std::span<const Command> commands, std::string_view name) {
  for (const Command& command : commands) {
    if (command.name == name) return command.run;
  }
  return nullptr;
}

}  // namespace postern::control
