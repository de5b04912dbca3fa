// options.h - the command line of postmap(1) and postalias(1).

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/table/builder.h"
#include "common/table/source.h"

namespace postern::postmap {

enum class Program : unsigned char { kPostmap, kPostalias };

struct Options {
  Program program = Program::kPostmap;
  std::string config_directory;  // -c; else MAIL_CONFIG, else the installed one

  std::optional<std::string> query_key;   // -q, "-": keys from standard input
  std::optional<std::string> delete_key;  // -d, the same
  bool list = false;                      // -s
  bool incremental = false;               // -i: entries from standard input, into what is there
  table::Duplicates duplicates = table::Duplicates::kWarn;  // -r -w
  bool fold_keys = true;                                    // not -f
  bool trailing_nul = true;                                 // not -n
  bool inherit_mode = true;                                 // not -p
  bool keep_root = false;                                   // -o
  std::optional<bool> utf8;       // -u: false; else as smtputf8_enable says
  bool values_are_files = false;  // -F: base64 of the files that the value names
  bool match_headers = false;     // -h: the keys are the header fields of a message
  bool match_body = false;        // -b: its body lines
  bool mime = false;              // -m
  int verbose = 0;

  std::vector<std::string> tables;  // as given, with or without a type

  [[nodiscard]] table::SourceFormat format() const {
    return program == Program::kPostmap ? table::SourceFormat::kPlain
                                        : table::SourceFormat::kAliases;
  }
};

[[nodiscard]] Program program_named(std::string_view path);
// The error's text is what is to be said, the usage line included.
[[nodiscard]] Result<Options> parse_options(int argc, char** argv);

}  // namespace postern::postmap
