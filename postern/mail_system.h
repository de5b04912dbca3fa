// mail_system.h - what the verbs of `postern` share: which configuration, and whether it runs.

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "common/config/load.h"
#include "common/config/values.h"

namespace postern::control {

struct MailSystem {
  config::InstallPaths paths;
  std::string directory;
  config::Loaded loaded;

  [[nodiscard]] config::Values values() const { return config::Values(loaded.snapshot); }
  [[nodiscard]] std::string pid_file() const;
  // The process id of the master that runs, if one does: its lock says so, not the file.
  [[nodiscard]] std::optional<pid_t> running() const;
};

// Reads the configuration and opens the log under the name that Postfix's script has. Where it
// cannot, says why on standard error.
[[nodiscard]] std::optional<MailSystem> open_mail_system();

// A fatal line to the log and always to standard error: whoever starts a mail system wants to read
// at once why it did not. Gives the status to exit with.
int refuse(std::string_view text);

// The verbs. All but status need the superuser.
int start_main(int argc, char** argv);
int start_fg_main(int argc, char** argv);
int stop_main(int argc, char** argv);
int abort_main(int argc, char** argv);
int reload_main(int argc, char** argv);
int flush_main(int argc, char** argv);
int trace_main(int argc, char** argv);
int status_main(int argc, char** argv);
int logrotate_main(int argc, char** argv);

// postlog [-iv] [-c DIR] [-p PRIORITY] [-t TAG] [TEXT...]: text, or each line of standard input,
// to the mail log.
int postlog_main(int argc, char** argv);

}  // namespace postern::control
