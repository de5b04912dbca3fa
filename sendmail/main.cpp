// sendmail - the command that programs submit mail with, with the options they have always given.

#include <pwd.h>
#include <sysexits.h>
#include <unistd.h>

#include <cstdlib>

#include "common/base/text.h"
#include "common/config/authorized_user.h"
#include "common/config/login_senders.h"
#include "common/config/params/bounce.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/paths.h"
#include "common/config/tool.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/header.h"
#include "common/mail/verp.h"
#include "common/sys/output.h"
#include "common/sys/process.h"
#include "common/sys/socket.h"
#include "sendmail/message.h"
#include "sendmail/options.h"
#include "sendmail/smtp_mode.h"
#include "sendmail/submit.h"

namespace {

using namespace postern;
using sendmail::Mode;

[[noreturn]] void give_up(std::string_view text) {
  log::write(log::Level::kFatal, text);
  std::exit(EX_TEMPFAIL);
}

// Replaces this program by one that does the work.
[[noreturn]] void run(const std::string& program, std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  give_up(fmt::format("execute {}: {}", program, sys::errno_text(errno)));
}

struct User {
  std::string name, full_name;
};

User current_user() {
  const passwd* entry = ::getpwuid(::getuid());
  if (entry == nullptr) return {fmt::format("{}", ::getuid()), {}};
  // The first part of the field; `&` stands for the login name with a capital.
  std::string full_name;
  for (const char c : split_at_first(entry->pw_gecos, ',').first) {
    if (c == '&') {
      std::string login = entry->pw_name;
      if (!login.empty()) login[0] = to_upper(login[0]);
      full_name += login;
    } else {
      full_name += c;
    }
  }
  return {entry->pw_name, full_name};
}

// Content up to the end of the header, which is looked through for recipients.
std::string read_header(sendmail::MessageReader& reader, std::size_t limit,
                        std::vector<std::string>& recipients) {
  std::string head;
  mail::HeaderScanner scanner(std::size_t{2} << 20);
  for (;;) {
    auto piece = reader.next();
    if (!piece) give_up(piece.error().text);
    const bool at_end = piece->empty();
    head += *piece;
    if (scanner.scan(head, at_end) != mail::HeaderScanner::State::kMore || at_end) break;
  }
  for (auto& address : sendmail::recipients_of_header(
           std::string_view(head).substr(0, scanner.header_size()), limit)) {
    recipients.push_back(std::move(address));
  }
  return head;
}

sendmail::FixLineEnds fix_of(const config::Values& values) {
  const std::string word = values.text("sendmail_fix_line_endings");
  if (word == "never") return sendmail::FixLineEnds::kNever;
  return word == "strict" ? sendmail::FixLineEnds::kStrict : sendmail::FixLineEnds::kAlways;
}

// postdrop asks the same: here nobody has written a message for nothing.
void demand_sender(const config::Values& values, const User& user, std::string_view sender) {
  const auto may_send = config::may_send_as(values, sender);
  if (!may_send) give_up(may_send.error().text);
  if (*may_send) return;
  log::write(log::Level::kFatal,
             fmt::format("User {}({}) is not allowed to send as <{}> (local_login_sender_maps)",
                         user.name, ::getuid(), log::clean(sender)));
  std::exit(EX_TEMPFAIL);  // as whatever else keeps it from its work
}

std::string sender_of(const std::string& argument) {
  const auto addresses = sendmail::addresses_of_argument(argument);
  if (addresses.size() != 1 && !argument.empty() && argument != "<>") {
    log::warning("-f option specified malformed sender: {}", log::clean(argument));
  }
  return addresses.empty() ? std::string() : addresses.front();
}

int deliver(const sendmail::Options& options, const config::Tool& tool) {
  config::Problems problems;
  const auto cleanup = config::load<config::CleanupParams>(tool.values, problems);
  const auto paths = config::load<config::PathsParams>(tool.values, problems);
  const auto size_limit = static_cast<std::uint64_t>(cleanup.message_size_limit);

  const User user = current_user();
  queuefile::Envelope envelope;
  envelope.sender = options.sender ? sender_of(*options.sender) : user.name;
  demand_sender(tool.values, user, envelope.sender);
  const char* name_variable = ::getenv("NAME");
  envelope.attributes.emplace_back("full_name", options.full_name          ? *options.full_name
                                                : name_variable != nullptr ? name_variable
                                                                           : user.full_name);
  envelope.dsn_envid = options.dsn_envid;
  if (options.dsn_ret != 0) envelope.dsn_ret = static_cast<queuefile::DsnReturn>(options.dsn_ret);
  if (options.has_8bit_body) envelope.encoding = queuefile::ContentEncoding::k8bit;
  if (options.has_7bit_body) envelope.encoding = queuefile::ContentEncoding::k7bit;
  if (options.is_gateway) envelope.rewrite_context = "remote";
  if (options.smtputf8) envelope.smtputf8 = queuefile::kUtf8Requested;
  if (options.is_verbose) envelope.flags |= queuefile::kFlagTrace;
  if (options.is_probe) envelope.flags |= queuefile::kFlagProbe;

  if (options.verp) {
    const auto bounce = config::load<config::BounceParams>(tool.values, problems);
    envelope.verp_delims = options.verp->empty() ? bounce.default_verp_delimiters : *options.verp;
    if (!mail::is_verp_delimiters(envelope.verp_delims, bounce.verp_delimiter_filter)) {
      give_up(fmt::format("-V requires two characters from {}", bounce.verp_delimiter_filter));
    }
    if (envelope.sender.empty()) {
      give_up(fmt::format("({}): -V option requires non-null sender address", ::getuid()));
    }
  }

  std::vector<std::string> recipients;
  for (const auto& text : options.recipients) {
    auto addresses = sendmail::addresses_of_argument(text);
    // The null address in whatever form.
    std::erase(addresses, std::string());
    if (addresses.empty()) addresses.push_back(tool.values.text("empty_address_recipient"));
    std::ranges::move(addresses, std::back_inserter(recipients));
  }
  sendmail::MessageReader reader(STDIN_FILENO, options.ignore_dots, fix_of(tool.values));
  std::string content;
  if (options.is_probe) {
    content = sendmail::probe_message(envelope.sender, recipients);
  } else if (options.extract_recipients) {
    content =
        read_header(reader, static_cast<std::size_t>(cleanup.extract_recipient_limit), recipients);
  }
  for (const auto& address : recipients) {
    if (address.empty()) continue;
    auto& to = envelope.recipients.emplace_back();
    to.address = address;
    to.notify = options.notify;
  }
  if (envelope.recipients.empty()) {
    const std::string_view reason =
        options.extract_recipients
            ? "No recipient addresses found in message header"
            : "Recipient addresses must be specified on the command line or via the -t option";
    give_up(fmt::format("{}({}): {}", log::clean(envelope.sender), ::getuid(), reason));
  }

  auto drop = sendmail::Drop::start(paths.command_directory, tool.directory);
  if (!drop) give_up(drop.error().text);
  if (const auto sent = drop->envelope(envelope); !sent) give_up(sent.error().text);
  for (std::uint64_t size = 0;;) {
    size += content.size();
    const auto sent = drop->content(content);
    if (size_limit > 0 && size > size_limit) {
      drop->end();  // postdrop has its own word to say of it
      give_up(fmt::format("{}({}): message file too big", user.name, ::getuid()));
    }
    if (!sent) give_up(sent.error().text);
    if (options.is_probe) break;
    auto piece = reader.next();
    if (!piece) give_up(piece.error().text);
    if (piece->empty()) break;
    content = *std::move(piece);
  }
  const auto id = drop->finish();
  if (!id) give_up(fmt::format("{}({}): {}", user.name, ::getuid(), id.error().text));
  if (options.is_verbose || options.is_probe) {
    fmt::print("Mail Delivery Status Report will be mailed to <{}>.\n",
               log::clean(envelope.sender));
  }
  return 0;
}

// postdrop asks the same; who may not send is told before the message is read.
void demand_permission(const config::Values& values) {
  const auto refused = config::find_refused_user(values, "authorized_submit_users");
  if (!refused) give_up(refused.error().text);
  if (!*refused) return;
  log::write(log::Level::kFatal, fmt::format("User {}({}) is not allowed to submit mail",
                                             (*refused)->name, (*refused)->uid));
  std::exit(EX_TEMPFAIL);  // as whatever else keeps it from its work
}

}  // namespace

int main(int argc, char** argv) {
  if (!sys::fill_standard_descriptors()) return EX_OSERR;
  log::open({.program = sendmail::program_named(argc > 0 ? argv[0] : ""), .to_terminal = true});
  sys::guard_standard_output("sendmail");
  const auto options = sendmail::parse_options(argc, argv);
  if (!options) give_up(options.error().text);
  for (const auto& warning : options->warnings) log::warning("{}", warning);
  const auto tool = config::open_tool(options->config_directory);
  if (!tool) give_up(tool.error().text);
  config::Problems problems;
  const auto paths = config::load<config::PathsParams>(tool->values, problems);
  const std::string commands = paths.command_directory;
  switch (options->mode) {
    case Mode::kNothing:
      return 0;
    case Mode::kDeliver:
      demand_permission(tool->values);
      return deliver(*options, *tool);
    case Mode::kSmtp:
      demand_permission(tool->values);
      return sendmail::run_smtp(tool->values, tool->directory);
    case Mode::kMailq:
      run(commands + "/postqueue", {"postqueue", "-c", tool->directory, "-p"});
    case Mode::kFlush:
      run(commands + "/postqueue", {"postqueue", "-c", tool->directory, "-f"});
    case Mode::kFlushSite:
      run(commands + "/postqueue",
          {"postqueue", "-c", tool->directory, "-s", options->flush_argument});
    case Mode::kFlushId:
      run(commands + "/postqueue",
          {"postqueue", "-c", tool->directory, "-i", options->flush_argument});
    case Mode::kDaemon:
      // What is asked for is there already.
      if (sys::connect_unix(paths.queue_directory + "/public/qmgr")) return 0;
      run(commands + "/postern", {"postern", "-c", tool->directory, "start"});
    case Mode::kNewaliases: {
      std::vector<std::string> arguments = {"postalias", "-c", tool->directory};
      if (options->aliases) {
        arguments.push_back(*options->aliases);
      } else {
        for (const auto& table : tool->values.list("alias_database")) arguments.push_back(table);
      }
      if (arguments.size() == 3) return 0;
      run(commands + "/postalias", arguments);
    }
  }
  return EX_SOFTWARE;
}
