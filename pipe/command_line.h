// command_line.h - what a pipe line of master.cf says, and the arguments that it gives. Pure.
//
//     user=name[:group] [flags=BDFORXhqu.>] [null_sender=address] [eol=string] [size=bytes]
//     [directory=path] [chroot=path] argv=command arguments...
//
// An argument with ${recipient}, ${original_recipient}, ${mailbox}, ${user}, ${extension} or
// ${domain} is repeated for each recipient of the delivery. ${name?text} and ${name:text} are text
// where the value is, or is not, empty.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::pipe {

struct CommandLine {
  std::string user;
  std::string group;  // empty: the user's own
  std::string flags;
  std::string null_sender = "MAILER-DAEMON";
  std::string eol = "\n";
  std::string directory;
  std::uint64_t size_limit = 0;  // 0: none
  std::vector<std::string> arguments;

  [[nodiscard]] bool has(char flag) const { return flags.find(flag) != std::string::npos; }
};

// kConfig where something is missing, unknown or contradicts itself.
[[nodiscard]] Result<CommandLine> parse_command_line(const std::vector<std::string>& words);

struct MacroRecipient {
  std::string address;  // internal form
  std::string orig_to;
};

// What the macros of one delivery stand for.
struct MacroValues {
  std::string queue_id;
  std::string nexthop;
  std::string sender;  // internal form
  std::string size;
  std::string client_address;
  std::string client_helo;
  std::string client_hostname;
  std::string client_port;
  std::string client_protocol;
  std::string sasl_method;
  std::string sasl_sender;
  std::string sasl_username;
  std::string envid;
  std::string recipient_delimiter;
  std::vector<MacroRecipient> recipients;
};

// The arguments with their values; kConfig for a macro that there is none of.
[[nodiscard]] Result<std::vector<std::string>> expand_arguments(const CommandLine& line,
                                                                const MacroValues& values);

}  // namespace postern::pipe
