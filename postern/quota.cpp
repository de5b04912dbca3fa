#include "postern/quota.h"

#include <fmt/format.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "postern/ask_service.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

// anvil's name of who is meant: a login where it is not said to be a sender.
std::string name_of(std::string_view word) {
  if (word.starts_with("login:") || word.starts_with("sender:")) return to_lower(word);
  return "login:" + to_lower(word);
}

int list(const std::string& only) {
  ipc::anvil::ListQuotas request;
  bool is_found = only.empty();
  do {
    const auto page = ask_anvil(request);
    if (!page) return refuse(page.error().text);
    for (const auto& count : page->counts) {
      if (!only.empty() && count.sender != only) continue;
      is_found = true;
      fmt::print("{} {}/hour {}/day\n", log::clean(count.sender), count.in_hour, count.in_day);
    }
    request.after = page->next;
  } while (!request.after.empty());
  return is_found ? 0 : refuse(only + " has no counter");
}

}  // namespace

int quota_main(int argc, char** argv) {
  const auto system = open_mail_system();
  if (!system) return 1;
  const std::string queue = system->values().text("queue_directory");
  if (::chdir(queue.c_str()) < 0) return refuse(sys::fail_errno("chdir " + queue).error().text);
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "list" && argc <= 3) return list(argc == 3 ? name_of(argv[2]) : std::string());
  if (verb == "reset" && argc == 3) {
    const std::string_view who = argv[2];
    const auto done = ask_anvil(ipc::anvil::ResetQuota{who == "-a" ? "" : name_of(who)});
    return done ? 0 : refuse(done.error().text);
  }
  return refuse("usage: postern quota list [SENDER] | reset SENDER | reset -a");
}

}  // namespace postern::control
