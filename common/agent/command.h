// command.h - a message given to an external command, and what the command's end says about it.
//
// run_command() blocks, in a process that has the recipient's rights already. The command gets the
// message on its standard input and whatever it prints is kept for the report. It has a process
// group of its own, and all of that ends when the time is over.
//
//     ends with                           means
//     0                                   delivered
//     output that begins with "4.x.y" or "5.x.y", and any other status
//                                         deferred or bounced, with that status and text
//     a status of sysexits.h              bounced, EX_TEMPFAIL deferred
//     any other status                    bounced
//     a signal                            deferred
//     the time limit                      bounced

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/agent/mailbox.h"

namespace postern::agent {

// How the message's lines are written, the flags of pipe(8).
struct CommandFormat {
  std::string eol = "\n";
  bool quote_from = false;  // ">" before "From "
  bool stuff_dots = false;  // "." before "."
  bool end_blank = false;   // an empty line behind the message
};

struct CommandRequest {
  // Either the arguments themselves, or a line for the shell. A line of plain words needs none.
  std::vector<std::string> arguments{};
  std::string line{};
  std::string shell{};                     // local_command_shell: words before the line
  std::vector<std::string> environment{};  // NAME=value, all there is
  std::string directory{};
  bool must_have_directory = false;  // otherwise the command stays where we are
  std::chrono::seconds time_limit{1000};
  std::uint64_t file_limit = 0;  // of what the command writes; 0: none
  CommandFormat format{};
};

struct CommandResult {
  MailboxOutcome outcome = MailboxOutcome::kDeferred;
  std::string status{};
  std::string text{};        // for the log line and the notification
  std::string diagnostic{};  // for Diagnostic-Code: x-unix
  std::string output{};      // one line
};

[[nodiscard]] CommandResult run_command(const MailboxMessage& message,
                                        const CommandRequest& request);

// ---- parts, pure

// What the end of a command says. `wait_status` is waitpid's.
[[nodiscard]] CommandResult judge_command(int wait_status, bool is_out_of_time,
                                          std::string_view command, std::string_view output);

// The words of a command line that no shell needs to see; empty when it has to.
[[nodiscard]] std::vector<std::string> plain_words(std::string_view line);

// Puts one run of the message's bytes into the wanted form; keeps what it needs between runs.
class CommandFormatter {
 public:
  explicit CommandFormatter(const CommandFormat& format) : format_(format) {}
  void add(std::string_view bytes, std::string& out);
  // After the last run.
  void finish(std::string& out);

 private:
  void end_start(std::string& out);

  CommandFormat format_;
  std::string start_;  // of a line, until it is known whether it begins with "From "
  bool at_start_ = true;
};

}  // namespace postern::agent
