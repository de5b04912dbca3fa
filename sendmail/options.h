// options.h - the command line of sendmail(1), as thirty years of programs give it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.h"

namespace postern::sendmail {

enum class Mode : unsigned char {
  kDeliver,     // -bm: a message on standard input
  kSmtp,        // -bs: SMTP on standard input and output
  kMailq,       // -bp, mailq
  kNewaliases,  // -bi, newaliases
  kDaemon,      // -bd, -bl: start the mail system
  kFlush,       // -q
  kFlushSite,   // -qRsite
  kFlushId,     // -qIid
  kNothing,     // -bh: there are no host states to forget
};

struct Options {
  std::string program;  // the name that it was called by
  Mode mode = Mode::kDeliver;
  std::string config_directory;          // -C
  std::optional<std::string> sender;     // -f, -r: as written
  std::optional<std::string> full_name;  // -F
  std::string flush_argument;            // of -qR and -qI
  std::optional<std::string> aliases;    // -oA: instead of alias_database
  bool is_daemon_asked_for = false;      // -bd, -bl: not only an interval of -q
  bool extract_recipients = false;       // -t
  bool ignore_dots = false;              // -i, -oi
  bool is_verbose = false;               // -v: report deliveries
  bool is_probe = false;                 // -bv: report what would happen
  bool has_8bit_body = false;            // -B8BITMIME
  bool has_7bit_body = false;            // -B7BIT
  bool is_gateway = false;               // -G: the header is complete, or nobody's to complete
  bool smtputf8 = false;                 // -O SMTPUTF8
  std::uint8_t notify = 0;               // -N
  char dsn_ret = 0;                      // -R: 'F' or 'H'
  std::string dsn_envid;                 // -V
  std::optional<std::string> verp;       // -XV; empty: default_verp_delimiters
  std::vector<std::string> recipients;   // as written
  std::vector<std::string> warnings;     // what was given and has no effect
};

[[nodiscard]] std::string program_named(std::string_view path);

// Errors are one line for the user; all of them end the program with EX_TEMPFAIL.
[[nodiscard]] Result<Options> parse_options(int argc, char** argv);

}  // namespace postern::sendmail
