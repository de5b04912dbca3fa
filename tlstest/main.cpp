// tlstest - what the TLS of a domain's mail servers is worth, in words: `postern tls test`.

#include <fmt/format.h>
#include <unistd.h>

#include <string>

#include "common/config/tool.h"
#include "common/log/log.h"
#include "tlstest/survey.h"

int main(int argc, char** argv) {
  using namespace postern;
  log::open({.program = "tlstest", .to_terminal = true});
  std::string directory;
  for (int c = 0; (c = ::getopt(argc, argv, "c:")) != -1;) {
    if (c == 'c') directory = ::optarg;
    if (c == '?') return 1;
  }
  if (::optind + 1 != argc) {
    fmt::print(stderr, "usage: tlstest [-c DIRECTORY] DOMAIN|[HOST][:PORT]\n");
    return 1;
  }
  const auto tool = config::open_tool(directory);
  if (!tool) {
    fmt::print(stderr, "{}\n", tool.error().text);
    return 1;
  }
  return tlstest::survey(tool->values, argv[::optind]);
}
