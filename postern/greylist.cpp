#include "postern/greylist.h"

#include <fmt/format.h>
#include <unistd.h>

#include "common/log/clean.h"
#include "postern/ask_service.h"
#include "postern/mail_system.h"

namespace postern::control {

namespace {

void print(const ipc::anvil::GreylistEntry& entry) {
  const std::string until =
      entry.until == 0 ? std::string("for good") : "until " + print_time(entry.until);
  if (entry.is_network) {
    fmt::print("network {} {}, {}\n", entry.client,
               entry.has_passed ? "allowed" : fmt::format("passed {} times", entry.passes), until);
    return;
  }
  fmt::print("{} {} from <{}> to <{}>, since {}, {}\n", entry.has_passed ? "passed" : "waiting",
             entry.client, log::clean(entry.sender), log::clean(entry.recipient),
             print_time(entry.first), until);
}

int list() {
  ipc::anvil::ListGreylist request;
  do {
    const auto page = ask_anvil(request);
    if (!page) return refuse(page.error().text);
    for (const auto& entry : page->entries) print(entry);
    request.after = page->next;
  } while (!request.after.empty());
  return 0;
}

int statistics() {
  const auto counts = ask_anvil(ipc::anvil::CountGreylist{});
  if (!counts) return refuse(counts.error().text);
  fmt::print("waiting    {}\npassed     {}\nnetworks   {}\n", counts->waiting, counts->known,
             counts->networks);
  fmt::print("recipients greylisted {}, let pass {} since anvil has started\n", counts->greylisted,
             counts->passed);
  return 0;
}

}  // namespace

int greylist_main(int argc, char** argv) {
  const auto system = open_mail_system();
  if (!system) return 1;
  const std::string queue = system->values().text("queue_directory");
  if (::chdir(queue.c_str()) < 0) return refuse(sys::fail_errno("chdir " + queue).error().text);
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "list" && argc == 2) return list();
  if (verb == "stats" && argc == 2) return statistics();
  if ((verb == "allow" || verb == "disallow") && argc == 3) {
    const auto done = ask_anvil(ipc::anvil::ChangeGreylist{argv[2], verb == "disallow"});
    return done ? 0 : refuse(done.error().text);
  }
  return refuse("usage: postern greylist list | stats | allow ADDRESS | disallow ADDRESS");
}

}  // namespace postern::control
