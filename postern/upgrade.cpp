// upgrade.cpp - `postern upgrade-configuration`: a master.cf of an older system gets the services
// that it lacks; then owners and modes are set right. Running it again changes nothing.

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/master_cf.h"
#include "postern/check.h"
#include "postern/config_edit.h"
#include "postern/mail_system.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

// The services that others ask for, as the master.cf that is installed has them.
constexpr std::string_view kServices[] = {
    "pickup unix n - n 60 1 pickup",      "cleanup unix n - n - 0 cleanup",
    "qmgr unix n - n 300 1 qmgr",         "rewrite unix - - n - - trivial-rewrite",
    "bounce unix - - n - 0 bounce",       "defer unix - - n - 0 bounce",
    "trace unix - - n - 0 bounce",        "verify unix - - n - 1 verify",
    "flush unix n - n 1000? 0 flush",     "proxymap unix - - n - - proxymap",
    "proxywrite unix - - n - 1 proxymap", "smtp unix - - n - - smtp",
    "relay unix - - n - - smtp",          "showq unix n - n - - showq",
    "error unix - - n - - error",         "retry unix - - n - - error",
    "discard unix - - n - - discard",     "local unix - n n - - local",
    "virtual unix - n n - - virtual",     "lmtp unix - - n - - lmtp",
    "anvil unix - - n - 1 anvil",         "postlog unix-dgram n - n - 1 postlogd"};

}  // namespace

std::string with_missing_services(std::string_view master_cf, std::vector<std::string>& added) {
  const config::MasterCf parsed = config::parse_master_cf(master_cf, "master.cf");
  std::string out(master_cf);
  if (!out.empty() && !out.ends_with('\n')) out += '\n';
  for (const std::string_view line : kServices) {
    const auto service = config::parse_service(line, "", 0);
    if (!service) continue;
    // pickup and qmgr were of type fifo once.
    const bool is_there = std::ranges::any_of(parsed.services, [&](const config::Service& other) {
      return other.name == service->name && other.type != config::ServiceType::kInet;
    });
    if (is_there) continue;
    out += print_service(*service, config::MasterStyle::kFolded) + "\n";
    added.push_back(service->name);
  }
  return out;
}

int upgrade_configuration_main(int argc, char** argv) {
  const auto directory = config::choose_config_directory("", config::find_install_paths());
  if (!directory) {
    fmt::print(stderr, "postern: fatal: {}\n", directory.error().text);
    return 1;
  }
  std::vector<std::string> added;
  const auto done =
      edit_file(directory->path + "/master.cf", [&](std::string_view text) -> Result<std::string> {
        return with_missing_services(text, added);
      });
  if (!done) {
    fmt::print(stderr, "postern: fatal: {}\n", done.error().text);
    return 1;
  }
  for (const auto& name : added)
    fmt::print("editing {}/master.cf, adding missing entry for {} service\n", directory->path,
               name);
  return set_permissions_main(argc, argv);
}

}  // namespace postern::control
