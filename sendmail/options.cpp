#include "sendmail/options.h"

#include <fmt/format.h>
#include <unistd.h>

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
      options.warnings.push_back(fmt::format("bad -R option value {}; ignored", argument));
    }
  } else if (const auto mask = smtpwire::parse_notify(argument)) {
    options.notify = *mask;
  } else {
    options.warnings.push_back(fmt::format("bad -N option value {}; ignored", argument));
  }
  return {};
}

Result<void> set_o_option(Options& options, std::string_view argument) {
  // Old configuration switches; only those that change what is sent count here.
  if (argument == "i" || argument == "8")
    options.ignore_dots = options.ignore_dots || argument == "i";
  return {};
}

Result<void> set_queue(Options& options, std::string_view argument) {
  if (argument.starts_with('R')) {
    options.mode = Mode::kFlushSite;
    options.flush_argument = argument.substr(1);
  } else if (argument.starts_with('I')) {
    options.mode = Mode::kFlushId;
    options.flush_argument = argument.substr(1);
  } else if (argument.empty() && options.mode == Mode::kDeliver) {
    options.mode = Mode::kFlush;
  } else if (!argument.empty() && argument.front() >= '0' && argument.front() <= '9') {
    // -q30m is an interval for a daemon: queue_run_delay says it here.
    options.mode = Mode::kDaemon;
  }
  return {};
}

}  // namespace

Result<Options> parse_options(int argc, char** argv) {
  Options options;
  const std::string_view path = argv[0];
  const auto slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (name == "mailq") options.mode = Mode::kMailq;
  if (name == "newaliases") options.mode = Mode::kNewaliases;

  // -q takes an argument only when it is attached, which getopt's "::" does.
  ::opterr = 0;
  for (int c = 0;
       (c = ::getopt(argc, argv, "+A:B:C:F:GIL:N:O:R:UV:X:ab:ce:f:h:imno:p:r:q::tvx")) != -1;) {
    const std::string_view argument = ::optarg == nullptr ? "" : ::optarg;
    switch (c) {
      case 'B':
        if (equal_nocase(argument, "8BITMIME")) {
          options.has_8bit_body = true;
        } else if (equal_nocase(argument, "7BIT")) {
          options.has_7bit_body = true;
        } else {
          return usage("bad -B option value: specify 7BIT or 8BITMIME");
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
        return usage("usage: sendmail [options] recipient...");
      default:
        break;  // accepted for the sake of old callers
    }
  }
  for (int i = ::optind; i < argc; ++i) options.recipients.emplace_back(argv[i]);
  if (options.extract_recipients && options.mode != Mode::kDeliver) {
    return usage("-t can be used only in delivery mode");
  }
  return options;
}

}  // namespace postern::sendmail
