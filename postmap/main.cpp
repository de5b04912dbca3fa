// postmap and postalias: maintain lookup tables. The name of the program decides which one it is.

#include <csignal>
#include <string_view>

#include "common/sys/output.h"
#include "postmap/commands.h"
#include "postmap/default_type.h"
#include "postmap/options.h"

int main(int argc, char** argv) {
  using namespace postern;
  // A limit on the size of files is an error of a write, after which the half of a file is removed.
  std::signal(SIGXFSZ, SIG_IGN);
  sys::guard_standard_output(
      std::string_view(argc > 0 ? argv[0] : "").ends_with("postalias") ? "postalias" : "postmap");
  auto options = postmap::parse_options(argc, argv);
  if (!options) {
    postmap::Options unknown;
    unknown.program = postmap::program_named(argc > 0 ? argv[0] : "");
    postmap::say(unknown, "fatal", options.error().text);
    return 1;
  }
  if (const auto found = postmap::check_directory(options->config_directory); !found) {
    postmap::say(*options, "fatal", found.error().text);
    return 1;
  }
  postmap::register_database_types(options->config_directory);
  const auto status = postmap::run(*options);
  if (!status) {
    postmap::say(*options, "fatal", status.error().text);
    return 1;
  }
  return *status;
}
