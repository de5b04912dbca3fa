#include "sendmail/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "common/base/text.h"
#include "common/smtpwire/command.h"

namespace postern::sendmail {

namespace {

std::unexpected<Error> usage(std::string text) {
  return fail(Error::Kind::kPermanent, std::move(text));
}

Result<void> set_mode(Options& options, std::string_view argument) {
  if (argument.empty()) return usage("-b needs an argument");
  switch (argument[0]) {
    case 'm':
      options.mode = Mode::kDeliver;
      return {};
    case 's':
      options.mode = Mode::kSmtp;
      return {};
    case 'p':
      options.mode = Mode::kMailq;
      return {};
    case 'i':
      options.mode = Mode::kNewaliases;
      return {};
    case 'd':
    case 'l':
      options.mode = Mode::kDaemon;
      return {};
    case 'h':
    case 'H':
      options.mode = Mode::kNothing;
      return {};
    case 'v':
      options.is_probe = true;
      return {};
    default:
      return usage(fmt::format("unsupported: -b{}", argument));
  }
}

Result<void> set_dsn(Options& options, char option, std::string_view argument) {
  if (option == 'V') {
    options.dsn_envid = argument;
  } else if (option == 'R') {
    if (equal_nocase(argument, "full")) {
      options.dsn_ret = 'F';
    } else if (equal_nocase(argument, "hdrs")) {
      options.dsn_ret = 'H';
    } else {
      options.warnings.push_back("bad -R option value -- ignored");
    }
  } else if (const auto mask = smtpwire::parse_notify(argument)) {
    options.notify = *mask;
  } else {
    for (const std::string_view word : split_fields(argument, ',')) {
      if (!smtpwire::parse_notify(word)) {
        options.warnings.push_back(
            fmt::format("unknown DSN NOTIFY command value \"{}\" in \"{}\"", word, argument));
        break;
      }
    }
    options.warnings.push_back("bad -N option value -- ignored");
  }
  return {};
}

Result<void> set_o_option(Options& options, std::string_view argument) {
  // Old configuration switches; only those that change what is sent count here.
  if (argument == "A") return usage("-oA requires pathname");
  if (argument == "i") options.ignore_dots = true;
  if (argument.starts_with('A') && argument.size() > 1) options.aliases = argument.substr(1);
  return {};
}

Result<void> set_queue(Options& options, std::string_view argument) {
  if (argument == "R") return usage("specify: -qRsitename");
  if (argument == "I") return usage("specify: -qIqueueid");
  if (argument.starts_with('R')) {
    options.mode = Mode::kFlushSite;
    options.flush_argument = argument.substr(1);
  } else if (argument.starts_with('I')) {
    options.mode = Mode::kFlushId;
    options.flush_argument = argument.substr(1);
  } else if (argument.empty() && (options.mode == Mode::kDeliver || options.mode == Mode::kMailq)) {
    options.mode = Mode::kFlush;
  } else if (!argument.empty() && argument.front() >= '0' && argument.front() <= '9') {
    // -q30m is an interval for a daemon: queue_run_delay says it here.
    options.mode = Mode::kDaemon;
  } else if (!argument.empty()) {
    return usage(fmt::format("-q{} is not implemented", argument.front()));
  }
  return {};
}

}  // namespace

std::string program_named(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return std::string(name == "mailq" || name == "newaliases" ? name : "sendmail");
}

Result<Options> parse_options(int argc, char** argv) {
  Options options;
  options.program = program_named(argv[0]);
  if (options.program == "mailq") options.mode = Mode::kMailq;
  if (options.program == "newaliases") options.mode = Mode::kNewaliases;

  constexpr const char* kOptions = "+A:B:C:F:GIL:N:O:R:UV:X:ab:ce:f:h:imno:p:r:q::tvx";
  // -q takes an argument only when it is attached, which getopt's "::" does.
  ::opterr = 0;
  for (int c = 0; (c = ::getopt(argc, argv, kOptions)) != -1;) {
    const std::string_view argument = ::optarg == nullptr ? "" : ::optarg;
    switch (c) {
      case 'B':
        if (argument == "8BITMIME") {
          options.has_8bit_body = true;
        } else if (argument == "7BIT") {
          options.has_7bit_body = true;
        } else {
          return usage("-B option needs 8BITMIME or 7BIT");
        }
        break;
      case 'C':
        options.config_directory = argument;
        break;
      case 'F':
        options.full_name = argument;
        break;
      case 'N':
      case 'R':
      case 'V':
        DO(set_dsn(options, static_cast<char>(c), argument));
        break;
      case 'G':
        options.is_gateway = true;
        break;
      case 'O':
        if (equal_nocase(argument, "SMTPUTF8")) options.smtputf8 = true;
        break;
      case 'X':
        // -X FILE, a log of the dialogue elsewhere, has no effect.
        if (argument.starts_with('V')) options.verp = argument.substr(1);
        break;
      case 'b':
        DO(set_mode(options, argument));
        break;
      case 'f':
      case 'r':
        options.sender = argument;
        break;
      case 'i':
        options.ignore_dots = true;
        break;
      case 'n':
        return usage("-n option not supported");
      case 'o':
        DO(set_o_option(options, argument));
        break;
      case 'q':
        DO(set_queue(options, argument));
        break;
      case 't':
        options.extract_recipients = true;
        break;
      case 'v':
        options.is_verbose = true;
        break;
      case 'I':
        options.mode = Mode::kNewaliases;
        break;
      case '?':
        fmt::print(stderr, "{}: {} -- '{}'\n", options.program,
                   ::strchr(kOptions, ::optopt) == nullptr ? "invalid option"
                                                           : "option requires an argument",
                   static_cast<char>(::optopt));
        return usage(fmt::format("usage: {} [options]", options.program));
      default:
        break;  // accepted for the sake of old callers
    }
  }
  for (int i = ::optind; i < argc; ++i) options.recipients.emplace_back(argv[i]);
  if (options.extract_recipients && options.mode != Mode::kDeliver) {
    return usage("-t can be used only in delivery mode");
  }
  if (options.extract_recipients && options.is_probe) {
    return usage("-t option cannot be used with -bv");
  }
  if (options.mode == Mode::kSmtp && !options.recipients.empty()) {
    return usage("stand-alone mode requires no recipient");
  }
  if (options.mode == Mode::kNewaliases && !options.recipients.empty()) {
    return usage("alias initialization mode requires no recipient");
  }
  return options;
}

}  // namespace postern::sendmail
