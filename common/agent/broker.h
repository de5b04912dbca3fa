// broker.h - the one part of an agent that stays root: it makes deliverers, and nothing else.
//
// fork_broker() is called before the rights are dropped. The broker is single-threaded, reads only
// from main's socket, checks each request against passwd and its policy, and ends with main. It
// opens no file that a request names, but for root's own .forward files, which nobody else can
// read: of a mailbox to be made it takes the user's name alone.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/agent/jobs.h"
#include "common/base/result.h"
#include "common/sys/fd.h"
#include "common/sys/privilege.h"

namespace postern::agent {

struct BrokerPolicy {
  uid_t minimum_uid = 1;                // 0 is never given
  std::vector<uid_t> forbidden_uids{};  // the mail system's own
  bool must_be_user = false;            // local: the uid is in passwd, the gid is its or default's
  // default_privs: what is done for root is done with these rights.
  sys::Account fallback{};
  std::string mail_spool_directory{};  // empty: no mailbox is made
  // Deliverers run commands, which may be setuid or setgid: mail that a user's command sends goes
  // through postdrop.
  bool runs_commands = false;
};

// The rights that a request gets, or why it gets none.
[[nodiscard]] Result<sys::Account> check_request(const BrokerRequest& request,
                                                 const BrokerPolicy& policy);

// A file of root's home directory for reading, the name of which begins with ".forward": a regular
// one that is root's and that not everybody may write. Nothing when there is none; an error, and a
// warning's text, for whatever else there is.
[[nodiscard]] Result<sys::Fd> open_root_forward(const std::string& user, const std::string& name);

// The socket to the broker, non-blocking.
[[nodiscard]] Result<sys::Fd> fork_broker(const BrokerPolicy& policy);

// The same, and then main goes on as `account` with its groups (where it is root), behind a chroot
// to the working directory if master.cf asks for one.
enum class Chroot : unsigned char { kNone, kHere };
[[nodiscard]] Result<sys::Fd> split_rights(const BrokerPolicy& policy, const sys::Account& account,
                                           Chroot chroot);

}  // namespace postern::agent
