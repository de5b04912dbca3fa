// confinement.h - what each daemon needs of the machine, and whose rights it has. It gets nothing
// else.
//
// Rights are split by account, so that a daemon that was taken over finds nobody to signal or to
// trace and no file to open, even where the kernel has nothing but users.
//
//     postern-in    speaks with clients: smtpd, and anvil, which counts them
//     postern-out   speaks with next hops, or delivers: smtp, sts, local, virtual, pipe, error,
//                   discard (those who write a user's mailbox have that user's rights)
//     postern-chk   judges what strangers wrote: mailauth, resolver
//     postern-key   private keys: keyring
//     postern-auth  takes passwords from clients: auth
//     postern-log   writes the log: postlog
//     mail_owner    all others
//
// mail_owner keeps those who own the queue (qmgr, cleanup, pickup, showq, flush, bounce), those who
// share a data base in data_directory with nobody outside (verify, reports), and those to whom
// sites give files and sockets by that name, as Postfix's guides say: broker by its groups, lmtp
// (private/dovecot-lmtp, mode 0600), tables and proxymap (tables with passwords, root:postfix 0640
// or postfix 0600), and the workers of auth (sasldb2). tables and proxymap are kept from the mail
// in the queue by Landlock instead, unless files lie beside the queue that may be tables.
//
// The accounts share the group `postern` and nothing else; private/ lets that group in. Where an
// account or the group is missing, or the directories are those of Postfix, a daemon has
// mail_owner's rights. Names of the mail system's own accounts are never recipients or users of
// commands.
//
// A service lets in the accounts of those programs that are its clients, as they are declared here,
// and refuses all others. The kernel tells accounts only: a program may ask what others of its
// account may. Root is always let in, and so is mail_owner, whose rights a daemon has where it has
// no account of its own.

#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"
#include "common/ipc/server.h"
#include "common/sys/privilege.h"
#include "common/sys/sandbox.h"

namespace postern::daemon {

// The group of all accounts beside mail_owner.
inline constexpr std::string_view kRoleGroup = "postern";
// Their names.
[[nodiscard]] std::span<const std::string_view> role_accounts();

// Whose rights the program gets, `groups` being all that it is to have. `mail_owner` where its role
// has no account of its own, or none that could be used.
[[nodiscard]] sys::Account account_of(std::string_view program, const config::Values& values,
                                      const sys::Account& mail_owner);

// Why daemons share mail_owner's account; empty when they do not, or are not meant to.
[[nodiscard]] std::string why_accounts_are_shared(const config::Values& values);

// Who may speak to the service of a program, as it is declared.
struct Clients {
  // Without mail_owner.
  std::vector<std::string_view> accounts;
  // The tools that users run with setgid_group's rights.
  bool has_tools = false;
  // Whoever is let in by the directory of the socket and is none of ours: a site's own programs.
  bool has_others = false;
};
// Nothing for one whose clients are not declared.
[[nodiscard]] std::optional<Clients> declared_clients(std::string_view program);

// The same as numbers. Everybody where programs that speak to it have no account of their own:
// there is nobody to be told apart, and there may be one day.
[[nodiscard]] ipc::Peers clients_of(std::string_view program, const config::Values& values,
                                    const sys::Account& mail_owner);

// Users whom nothing is delivered or run for: mail_owner and those of the roles.
[[nodiscard]] std::vector<uid_t> own_users(const sys::Account& mail_owner);
// The same for groups.
[[nodiscard]] bool is_own_group(gid_t group, const sys::Account& mail_owner);

// Whether the program runs in the network of the host; the others have one in which nobody is.
[[nodiscard]] bool needs_network(std::string_view program);

// Whether the program keeps to what it needs; what it starts may have a name of its own.
[[nodiscard]] bool is_confined(std::string_view program);

// Nothing for a program that runs what others wrote (commands, PAM modules) and for one that is
// none of ours.
[[nodiscard]] std::optional<sys::SandboxSpec> confinement_of(std::string_view program,
                                                             const config::Values& values);

// The same files in words, for people.
[[nodiscard]] std::string describe_files(std::string_view program);

}  // namespace postern::daemon
