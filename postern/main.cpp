// main.cpp - picks the program by the name it was called by, and the verb of `postern`.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "common/base/text.h"
#include "common/sys/output.h"
#include "postern/commands.h"
#include "postern/postmulti.h"

namespace {

using namespace postern;

int run_verb(int argc, char** argv) {
  const char* const me = argv[0];
  int option = 0;
  // "+": what follows the verb is the verb's.
  while ((option = getopt(argc, argv, "+c:Dv")) != -1) {
    switch (option) {
      case 'c':
        setenv("MAIL_CONFIG", optarg, 1);
        break;
      case 'D':
        setenv("MAIL_DEBUG", "1", 1);
        break;
      case 'v':
        setenv("MAIL_VERBOSE", "1", 1);
        break;
      default:
        return 1;
    }
  }
  const std::string_view word = optind < argc ? argv[optind] : "";
  const control::Command* const verb = control::find_verb(word);
  if (verb == nullptr) {
    fmt::print(stderr,
               "{}: fatal: unknown command: '{}'. Usage: postern start (or stop, reload, abort, "
               "flush, check, status, set-permissions)\n",
               split_at_last(me, '/').second.empty() ? me : split_at_last(me, '/').second, word);
    return 1;
  }
  // Verbs of the whole mail system are for all of its instances.
  if (control::is_for_all_instances(verb->name)) {
    if (const auto status = control::hand_to_wrapper(argc - optind, argv + optind)) return *status;
  }
  const int first = optind;
  optind = 0;  // begins anew: options may stand behind a verb's other words again
  return verb->run(argc - first, argv + first);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 1) return 1;
  const std::string_view path = argv[0];
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  sys::guard_standard_output(name);
  if (const control::Main run = control::find_command(control::programs(), name)) {
    return run(argc, argv);
  }
  return run_verb(argc, argv);
}
