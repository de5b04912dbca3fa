#include "common/daemon/confinement.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "common/base/text.h"

namespace postern::daemon {

namespace {

using sys::Calls;

// In the order of kAccounts.
enum class Role : unsigned char { kIn, kOut, kChecks, kKeys, kLogins, kLog, kOwner };
constexpr std::string_view kAccounts[] = {"postern-in",  "postern-out",  "postern-chk",
                                          "postern-key", "postern-auth", "postern-log"};

constexpr std::uint8_t kNothing = 0;
constexpr std::uint8_t kNeighbours = kNothing | Calls::kNeighbours;
constexpr std::uint8_t kReads = kNeighbours | Calls::kOpen;
constexpr std::uint8_t kChanges = kReads | Calls::kChange;

enum class Network : unsigned char { kEmpty, kHost };

// `$name` stands for a parameter's value, `^$name` for the directory of the file that it names, a
// relative name is below the queue directory, and `~` is all but the mail in it. `+` in front: to
// be changed, too.
struct Needs {
  std::string_view program;
  Role role;
  Network network;
  std::uint8_t calls;
  std::array<std::string_view, 10> files{};
};

// In the order of the way that mail takes.
constexpr Needs kNeeds[] = {
    {"smtpd", Role::kIn, Network::kEmpty, kNeighbours},
    {"keyring", Role::kKeys, Network::kEmpty, kNeighbours},
    {"anvil", Role::kIn, Network::kEmpty, kChanges, {"+$data_directory/anvil"}},
    {"broker", Role::kOwner, Network::kHost, kNeighbours | Calls::kInternet},
    // Name servers and host names are read again when they change; both may be links to /run.
    {"resolver", Role::kChecks, Network::kHost, kReads | Calls::kInternet, {"/etc", "/run"}},
    {"tables", Role::kOwner, Network::kEmpty, kReads | Calls::kMakeCode, {"~"}},
    {"proxymap",
     Role::kOwner,
     Network::kHost,
     kChanges | Calls::kInternet | Calls::kMakeCode,
     {"+~"}},
    {"mailauth", Role::kChecks, Network::kEmpty, kNeighbours},
    {"sts", Role::kOut, Network::kHost, kChanges | Calls::kInternet, {"~", "+$data_directory"}},
    {"reports", Role::kOwner, Network::kEmpty, kChanges, {"+$data_directory"}},
    // What judges logins is others' code, and in processes of its own: workers.
    {"auth", Role::kLogins, Network::kHost, kReads, {"$config_directory", "/etc", "/usr/lib"}},
    {"verify", Role::kOwner, Network::kEmpty, kChanges, {"+$data_directory"}},
    {"pickup", Role::kOwner, Network::kEmpty, kChanges, {"+maildrop"}},
    {"cleanup", Role::kOwner, Network::kEmpty, kChanges, {"+incoming", "+hold"}},
    {"qmgr",
     Role::kOwner,
     Network::kEmpty,
     kChanges,
     {"+incoming", "+active", "+deferred", "+hold", "+corrupt", "+bounce", "+defer", "+trace"}},
    {"smtp", Role::kOut, Network::kHost, kNeighbours | Calls::kInternet},
    {"lmtp", Role::kOwner, Network::kHost, kNeighbours | Calls::kInternet},
    // Their deliverers, who act for one user each, come from a broker that is none of these.
    // local asks for users in passwd or what the system has instead, by modules that it loads; all
    // that is a recipient's, aliases' files among it, is read by a deliverer.
    {"local",
     Role::kOut,
     Network::kHost,
     kReads | Calls::kInternet | Calls::kMakeCode,
     {"/etc", "/lib", "/lib64", "/nix", "/run", "/usr", "/var/db", "/var/lib/extrausers",
      "/var/lib/misc", "/var/lib/sss"}},
    {"virtual", Role::kOut, Network::kEmpty, kNeighbours},
    {"pipe", Role::kOut, Network::kHost, kNeighbours},
    {"error", Role::kOut, Network::kEmpty, kNeighbours},
    {"discard", Role::kOut, Network::kEmpty, kNeighbours},
    {"bounce", Role::kOwner, Network::kEmpty, kChanges, {"+bounce", "+defer", "+trace"}},
    {"flush", Role::kOwner, Network::kEmpty, kChanges, {"+flush"}},
    {"showq", Role::kOwner, Network::kEmpty, kReads, {"."}},
    {"postlog", Role::kLog, Network::kEmpty, kChanges, {"+^$maillog_file"}},
};

struct Clientele {
  std::string_view program;
  std::string_view clients;
};

// postqueue and postdrop stand for the tools that users run with setgid_group's rights, `others`
// for programs of a site that reach public/ by a group or an access list: exporters read showq.
// Agents have no client but qmgr, and say so themselves (common/agent/service.h).
constexpr Clientele kClients[] = {
    {"keyring", "smtpd smtp lmtp mailauth cleanup"},
    {"anvil", "smtpd"},
    {"broker", "smtpd cleanup"},
    {"resolver", "smtpd broker tables proxymap mailauth sts reports smtp lmtp"},
    // Agents ask for what replaces the status of a delivery.
    {"tables",
     "smtpd keyring mailauth auth cleanup qmgr smtp lmtp local virtual pipe error discard flush"},
    {"proxymap", "tables"},
    {"mailauth", "smtpd cleanup"},
    {"sts", "reports smtp lmtp"},
    {"reports", "mailauth smtp lmtp"},
    // smtp and lmtp log in with tokens.
    {"auth", "smtpd smtp lmtp"},
    {"verify", "smtpd qmgr"},
    {"pickup", "postdrop"},
    // Who hands in mail: that of others, or notices to the postmaster.
    {"cleanup", "smtpd anvil smtp lmtp local pickup bounce verify reports"},
    {"qmgr", "cleanup flush postqueue"},
    // It believes whose mail has failed.
    {"bounce", "qmgr"},
    {"flush", "smtpd qmgr postqueue"},
    {"showq", "postqueue others"},
};

const Needs* find_needs(std::string_view program) {
  const auto* const found = std::ranges::find(kNeeds, program, &Needs::program);
  return found == std::end(kNeeds) ? nullptr : found;
}

// Where the queue holds mail, or its reasons.
constexpr std::string_view kMail[] = {"active",   "bounce", "corrupt", "defer",
                                      "deferred", "flush",  "hold",    "incoming",
                                      "maildrop", "saved",  "trace"};

// Of one directory on the way to the queue. More is a machine that we do not know.
constexpr std::size_t kMaxEntries = 10'000;

// Nobody has a table in one of these, beside the directories there.
constexpr std::string_view kWithoutTables[] = {"/",    "/mnt", "/opt",       "/srv",
                                               "/tmp", "/var", "/var/spool", "/var/tmp"};

enum class PlainFiles : unsigned char { kLeaveOut, kForbid };

// Every directory in this one that is none of `left_out`. Links are left out, too: what they stand
// for has a place of its own, or is what is to be out of reach. So are files: a rule would hold on
// to one that is deleted or replaced. False with kForbid where there is one, and where it cannot be
// told.
bool add_directories(const std::string& directory, std::span<const std::string_view> left_out,
                     PlainFiles plain_files, bool may_change, std::vector<sys::FileRule>& files) {
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir(directory.c_str()), ::closedir);
  if (!list) return false;
  std::size_t count = 0;
  while (const dirent* const entry = ::readdir(list.get())) {
    const std::string_view name(entry->d_name);
    if (name == "." || name == ".." || std::ranges::find(left_out, name) != left_out.end()) {
      continue;
    }
    const std::string path = fmt::format("{}/{}", directory == "/" ? "" : directory, name);
    // Where the kind is told a mounted file system is not asked: its server may not answer.
    struct stat status{};
    const bool is_untold = entry->d_type == DT_UNKNOWN;
    if (is_untold && ::lstat(path.c_str(), &status) != 0) continue;
    const bool is_file = is_untold ? S_ISREG(status.st_mode) : entry->d_type == DT_REG;
    const bool is_directory = is_untold ? S_ISDIR(status.st_mode) : entry->d_type == DT_DIR;
    if (is_file && plain_files == PlainFiles::kForbid) return false;
    if (++count > kMaxEntries) return false;
    if (is_directory) files.push_back({path, may_change});
  }
  return true;
}

// Landlock only allows: so all directories beside the way to the mail are named. What comes to be
// there later (a new directory in the root, a file system mounted on one) is reached by the next
// process. A queue that has files of whatever kind beside it hides nothing.
std::vector<sys::FileRule> all_but_mail(const std::string& queue, bool may_change) {
  const std::vector<sys::FileRule> all = {{"/", may_change}};
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(queue.c_str(), nullptr), ::free);
  if (!real) return all;
  std::vector<sys::FileRule> files;
  std::string directory = "/";
  for (const std::string_view name : split_words(std::string_view(real.get()), "/")) {
    const std::string_view left_out[] = {name};
    const bool has_no_table =
        std::ranges::find(kWithoutTables, directory) != std::end(kWithoutTables);
    const auto plain_files = has_no_table ? PlainFiles::kLeaveOut : PlainFiles::kForbid;
    if (!add_directories(directory, left_out, plain_files, may_change, files)) return all;
    directory.append(directory == "/" ? "" : "/").append(name);
  }
  if (!add_directories(directory, kMail, PlainFiles::kLeaveOut, may_change, files)) return all;
  return files;
}

// Before the first start there is none; the one that is made then lets the group in.
bool is_searched_by(const std::string& directory, gid_t group) {
  struct stat status{};
  if (::stat(directory.c_str(), &status) != 0) return errno == ENOENT;
  return status.st_gid == group && (status.st_mode & S_IXGRP) != 0;
}

// Or why it cannot be had.
Result<sys::Account> find_role_account(Role role, const config::Values& values) {
  const std::string_view name = kAccounts[static_cast<std::size_t>(role)];
  TRY(sys::Account account, sys::find_account(name));
  if (account.uid == 0 || account.gid == 0) {
    return fail(Error::Kind::kConfig, fmt::format("{} has rights of the superuser", name));
  }
  const std::string queue = values.text("queue_directory");
  if (!is_searched_by(queue + "/private", account.gid)) {
    return fail(Error::Kind::kConfig,
                fmt::format("{}/private is closed to the group of {}", queue, name));
  }
  account.groups = {account.gid};
  // Who hands mail to cleanup has to reach public/, too.
  if (role == Role::kIn || role == Role::kOut) {
    TRY(const gid_t group, sys::find_group(values.text("setgid_group")));
    if (group == 0 || !is_searched_by(queue + "/public", group)) {
      return fail(Error::Kind::kConfig, fmt::format("{}/public is closed to setgid_group", queue));
    }
    account.groups.push_back(group);
  }
  return account;
}

bool has_shared_accounts(const config::Values& values) {
  return values.text("process_confinement") == "none";
}

}  // namespace

std::span<const std::string_view> role_accounts() { return kAccounts; }

sys::Account account_of(std::string_view program, const config::Values& values,
                        const sys::Account& mail_owner) {
  const Needs* const needs = find_needs(program);
  if (needs != nullptr && needs->role != Role::kOwner && !has_shared_accounts(values)) {
    if (auto account = find_role_account(needs->role, values)) return *std::move(account);
  }
  sys::Account owner = mail_owner;
  owner.groups = {owner.gid};
  return owner;
}

std::string why_accounts_are_shared(const config::Values& values) {
  if (has_shared_accounts(values)) return {};
  for (std::size_t i = 0; i < std::size(kAccounts); ++i) {
    const auto account = find_role_account(static_cast<Role>(i), values);
    if (!account) return account.error().text;
  }
  return {};
}

std::optional<Clients> declared_clients(std::string_view program) {
  const auto* const found = std::ranges::find(kClients, program, &Clientele::program);
  if (found == std::end(kClients)) return std::nullopt;
  Clients declared;
  for (const std::string_view client : split_words(found->clients)) {
    if (client == "postqueue" || client == "postdrop") {
      declared.has_tools = true;
    } else if (client == "others") {
      declared.has_others = true;
    } else if (const Role role = find_needs(client)->role; role != Role::kOwner) {
      declared.accounts.push_back(kAccounts[static_cast<std::size_t>(role)]);
    }
  }
  std::ranges::sort(declared.accounts);
  const auto twice = std::ranges::unique(declared.accounts);
  declared.accounts.erase(twice.begin(), twice.end());
  return declared;
}

ipc::Peers clients_of(std::string_view program, const config::Values& values,
                      const sys::Account& mail_owner) {
  const auto declared = declared_clients(program);
  if (!declared || (!declared->accounts.empty() && has_shared_accounts(values))) return {};
  ipc::Peers peers;
  peers.users.push_back(mail_owner.uid);
  for (std::size_t i = 0; i < std::size(kAccounts); ++i) {
    const bool is_client =
        std::ranges::find(declared->accounts, kAccounts[i]) != declared->accounts.end();
    const auto account = find_role_account(static_cast<Role>(i), values);
    if (is_client && !account) return {};
    if (account) (is_client ? peers.users : peers.refused).push_back(account->uid);
  }
  if (declared->has_others) {
    peers.users.clear();
    return peers;
  }
  peers.refused.clear();
  if (declared->has_tools) {
    const auto group = sys::find_group(values.text("setgid_group"));
    if (!group) return {};
    peers.group = *group;
  }
  return peers;
}

std::vector<uid_t> own_users(const sys::Account& mail_owner) {
  std::vector<uid_t> users = {mail_owner.uid};
  for (const auto name : kAccounts) {
    if (const auto account = sys::find_account(name)) users.push_back(account->uid);
  }
  return users;
}

bool is_own_group(gid_t group, const sys::Account& mail_owner) {
  return group == mail_owner.gid || group == sys::find_group(kRoleGroup).value_or(mail_owner.gid);
}

bool needs_network(std::string_view program) {
  const Needs* const found = find_needs(program);
  return found == nullptr || found->network == Network::kHost;
}

bool is_confined(std::string_view program) { return find_needs(program) != nullptr; }

std::optional<sys::SandboxSpec> confinement_of(std::string_view program,
                                               const config::Values& values) {
  const Needs* const found = find_needs(program);
  if (found == nullptr) return std::nullopt;
  sys::SandboxSpec spec;
  spec.calls = found->calls;
  for (std::string_view name : found->files) {
    if (name.empty()) continue;
    sys::FileRule rule;
    rule.may_change = name.starts_with('+');
    if (rule.may_change) name.remove_prefix(1);
    if (name == "~") {
      std::ranges::move(all_but_mail(values.text("queue_directory"), rule.may_change),
                        std::back_inserter(spec.files));
      continue;
    }
    const bool is_holder = name.starts_with('^');
    if (is_holder) name.remove_prefix(1);
    rule.path = values.expand_text(name).value_or("");
    if (is_holder) rule.path.erase(std::min(rule.path.rfind('/'), rule.path.size()));
    if (!rule.path.empty()) spec.files.push_back(std::move(rule));
  }
  return spec;
}

std::string describe_files(std::string_view program) {
  const Needs* const found = find_needs(program);
  if (found == nullptr) return "by owner and mode";
  std::string reads;
  std::string changes;
  for (std::string_view name : found->files) {
    if (name.empty()) continue;
    const bool may_change = name.starts_with('+');
    if (may_change) name.remove_prefix(1);
    std::string& list = may_change ? changes : reads;
    list += list.empty() ? "" : ", ";
    if (name.starts_with('^')) {
      list.append("directory of ").append(name.substr(1));
    } else if (name == "~") {
      list += "all but mail";
    } else {
      list += name;
    }
  }
  if (reads.empty() && changes.empty()) return "none";
  if (!reads.empty()) reads = "read " + reads;
  if (!changes.empty()) changes = "change " + changes;
  return reads.empty() || changes.empty() ? reads + changes : reads + "; " + changes;
}

}  // namespace postern::daemon
