#include "sendmail/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>

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
      options.is_daemon_asked_for = true;
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
    // RFC 3461 4.4: printable, 100 characters at most.
    constexpr std::size_t kMaxEnvelopeId = 100;
    if (argument.size() > kMaxEnvelopeId) {
      options.warnings.push_back("too long -V option value -- ignored");
    } else if (argument.empty() || !std::ranges::all_of(argument, is_printable)) {
      options.warnings.push_back("bad syntax in -V option value -- ignored");
    } else {
      options.dsn_envid = argument;
    }
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

// What -C names is a directory, or the main.cf in it.
std::string directory_of_config(std::string_view path) {
  constexpr std::string_view kFile = "main.cf";
  if (path == kFile) return ".";
  if (!path.ends_with("/main.cf")) return std::string(path);
  path.remove_suffix(kFile.size());
  return std::string(path.size() > 1 ? path.substr(0, path.size() - 1) : path);
}

// The name of a mode that addresses mean nothing to.
std::string_view mode_without_recipients(Mode mode) {
  switch (mode) {
    case Mode::kSmtp:
      return "stand-alone mode";
    case Mode::kMailq:
      return "display queue mode";
    case Mode::kNewaliases:
      return "alias initialization mode";
    case Mode::kDaemon:
      return "daemon mode";
    case Mode::kFlush:
      return "flush queue mode";
    case Mode::kFlushSite:
      return "flush site";
    case Mode::kFlushId:
      return "flush queue_id";
    default:
      return "";
  }
}

// -V once meant what -XV means, and still does with two letters behind it, as Postfix has it.
void renew_verp_option(char** argv, std::deque<std::string>& renewed, Options& options) {
  char*& argument = argv[::optind];
  if (argument == nullptr) return;
  const std::string_view given = argument;
  const char* const next = argv[::optind + 1];
  const bool is_apart = given == "-V" && next != nullptr && std::string_view(next).size() == 2;
  if (!is_apart && !(given.starts_with("-V") && given.size() == 4)) return;
  renewed.push_back(fmt::format("-X{}", given.substr(1)));
  options.warnings.push_back(fmt::format(
      "option {} is deprecated with Postfix 2.3; specify {} instead", given, renewed.back()));
  argument = renewed.back().data();
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

  constexpr const char* kOptions = "+A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q::tvx";
  // -q takes an argument only when it is attached, which getopt's "::" does.
  ::opterr = 0;
  std::deque<std::string> renewed;
  for (int c = 0;
       renew_verp_option(argv, renewed, options), (c = ::getopt(argc, argv, kOptions)) != -1;) {
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
        options.config_directory = directory_of_config(argument);
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
        // -X FILE is a log of the dialogue elsewhere.
        if (!argument.starts_with('V')) {
          return usage(fmt::format("unsupported: -X{}", argument.substr(0, 1)));
        }
        options.verp = argument.substr(1);
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
  const bool is_interval = options.mode == Mode::kDaemon && !options.is_daemon_asked_for;
  if (const auto mode = is_interval ? "" : mode_without_recipients(options.mode);
      !mode.empty() && !options.recipients.empty()) {
    return usage(fmt::format("{} requires no recipient", mode));
  }
  return options;
}

}  // namespace postern::sendmail
