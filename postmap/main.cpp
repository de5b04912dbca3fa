// postmap and postalias: maintain lookup tables. The name of the program decides which one it is.

#include "postmap/commands.h"
#include "postmap/default_type.h"
#include "postmap/options.h"

int main(int argc, char** argv) {
  using namespace postern;
  auto options = postmap::parse_options(argc, argv);
  if (!options) {
    postmap::say({}, "fatal", options.error().text);
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
