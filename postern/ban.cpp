#include "postern/ban.h"

#include <fmt/format.h>
#include <unistd.h>

#include "common/config/param.h"
#include "common/config/params/paths.h"
#include "common/ipc/anvil.h"
#include "postern/ask_service.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

int list() {
  const auto bans = ask_anvil(ipc::anvil::ListBans{});
  if (!bans) return refuse(bans.error().text);
  for (const auto& ban : bans->bans) {
    fmt::print("{} until {}\n", ban.client, print_time(ban.until));
  }
  return 0;
}

int change(ipc::anvil::ChangeBan request) {
  const auto done = ask_anvil(std::move(request));
  return done ? 0 : refuse(done.error().text);
}

}  // namespace

int ban_main(int argc, char** argv) {
  const auto system = open_mail_system();
  if (!system) return 1;
  const std::string queue = system->values().text("queue_directory");
  if (::chdir(queue.c_str()) < 0) return refuse(sys::fail_errno("chdir " + queue).error().text);
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "list" && argc == 2) return list();
  ipc::anvil::ChangeBan request;
  if (argc > 2) request.client = argv[2];
  if (verb == "remove" && argc == 3) {
    request.is_removed = true;
    return change(std::move(request));
  }
  if (verb == "add" && (argc == 3 || argc == 4)) {
    if (argc == 4) {
      const auto time = config::parse_duration(argv[3]);
      if (!time || time->count() <= 0) return refuse(fmt::format("bad time: {}", argv[3]));
      request.time = time->count();
    }
    return change(std::move(request));
  }
  return refuse("usage: postern ban list | add ADDRESS [TIME] | remove ADDRESS");
}

}  // namespace postern::control
