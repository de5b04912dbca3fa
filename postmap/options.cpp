#include "postmap/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "common/base/text.h"

namespace postern::postmap {

namespace {

std::unexpected<Error> usage(Program program) {
  const bool is_postmap = program == Program::kPostmap;
  return fail(Error::Kind::kConfig, fmt::format("usage: {} [-{}] [-c config_dir] [-d key] [-q key] "
                                                "[map_type:]file...",
                                                is_postmap ? "postmap" : "postalias",
                                                is_postmap ? "bfFhimnNoprsuUvw" : "Nfinoprsuvw"));
}

std::unexpected<Error> conflict(std::string_view what) {
  return fail(Error::Kind::kConfig, std::string(what));
}

Result<void> check(const Options& o) {
  if (o.list && (o.query_key || o.delete_key)) {
    return conflict("specify only one of -s or -q or -d");
  }
  if ((o.match_headers || o.match_body) && o.query_key != "-") {
    return conflict("specify -b -h or -m only with \"-q -\"");
  }
  if (o.tables.empty()) return usage(o.program);
  return {};
}

}  // namespace

Program program_named(std::string_view path) {
  return path.substr(path.rfind('/') + 1) == "postalias" ? Program::kPostalias : Program::kPostmap;
}

Result<Options> parse_options(int argc, char** argv) {
  Options o;
  o.program = program_named(argc > 0 ? argv[0] : "");

  const bool is_postmap = o.program == Program::kPostmap;
  const char* const letters = is_postmap ? "NbFUhmc:d:finopq:rsuvw" : "Nc:d:finopq:rsuvw";
  for (int letter = 0; (letter = ::getopt(argc, argv, letters)) != -1;) {
    switch (letter) {
      case 'b':
        o.match_body = true;
        break;
      case 'c':
        o.config_directory = ::optarg;
        break;
      case 'd':
        if (o.query_key || o.delete_key) return conflict("specify only one of -s -q or -d");
        o.delete_key = ::optarg;
        break;
      case 'f':
        o.fold_keys = false;
        break;
      case 'F':
        o.values_are_files = true;
        break;
      case 'h':
        o.match_headers = true;
        break;
      case 'i':
        o.incremental = true;
        break;
      case 'm':
        o.mime = true;
        break;
      case 'n':
        o.trailing_nul = false;
        break;
      case 'N':
        o.trailing_nul = true;
        break;
      case 'o':
        o.keep_root = true;
        break;
      case 'p':
        o.inherit_mode = false;
        break;
      case 'q':
        if (o.query_key || o.delete_key) return conflict("specify only one of -s -q or -d");
        o.query_key = ::optarg;
        break;
      case 'r':
        o.duplicates = table::Duplicates::kReplace;
        break;
      case 's':
        o.list = true;
        break;
      case 'u':
        o.utf8 = false;
        break;
      case 'U':
        o.utf8 = true;
        break;
      case 'v':
        ++o.verbose;
        break;
      case 'w':
        o.duplicates = table::Duplicates::kIgnore;
        break;
      default:
        return usage(o.program);
    }
  }
  for (int i = ::optind; i < argc; ++i) o.tables.emplace_back(argv[i]);
  DO(check(o));
  return o;
}

}  // namespace postern::postmap
