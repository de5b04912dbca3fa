#include "common/daemon/confinement.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "tests/support/folder.h"

namespace postern::daemon {

namespace {

namespace fs = std::filesystem;

config::Values values_of(const std::string& main_cf) {
  auto snapshot = std::make_shared<config::Snapshot>();
  snapshot->config_directory = "/c";
  snapshot->paths = config::paths_below("/nowhere");
  snapshot->settings = config::parse_main_cf(main_cf, "/c/main.cf").settings;
  snapshot->index();
  config::Problems ignored;
  config::complete_snapshot(*snapshot, ignored);
  return config::Values(snapshot);
}

bool is_within(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory + "/");
}

}  // namespace

TEST_CASE("tables reach all files but the mail in the queue") {
  const Folder folder;
  const std::string queue = folder.path() + "/spool/mail queue";
  for (const auto* const name :
       {"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop",
        "saved", "trace", "private", "public", "etc"}) {
    fs::create_directories(queue + "/" + name);
  }
  fs::create_directories(folder.path() + "/tables");
  std::ofstream(queue + "/file") << "x y\n";
  fs::create_symlink("/", folder.path() + "/all");
  fs::create_symlink(queue, folder.path() + "/spool/link");
  fs::create_symlink(queue, folder.path() + "/queue");

  // The same by whatever name.
  for (const std::string& name : {queue, folder.path() + "/queue", queue + "/../mail queue/"}) {
    const auto spec = confinement_of("tables", values_of("queue_directory = " + name + "\n"));
    REQUIRE(spec.has_value());
    std::vector<std::string> reached;
    for (const auto& rule : spec->files) reached.push_back(rule.path);
    const auto reaches = [&](const std::string& path) {
      return std::ranges::any_of(reached, [&](const auto& rule) { return is_within(path, rule); });
    };
    INFO(name);
    CHECK(reaches("/etc/hosts"));
    CHECK(reaches(folder.path() + "/tables/map"));
    CHECK(reaches(queue + "/etc/map"));
    CHECK(reaches(queue + "/private/socket"));
    for (const auto* const mail : {"active", "deferred", "incoming", "maildrop", "saved", "hold"}) {
      CHECK_FALSE(reaches(queue + "/" + mail + "/message"));
    }
    CHECK_FALSE(reaches(folder.path() + "/all/etc"));
    CHECK_FALSE(reaches(queue + "/file"));
    CHECK_FALSE(reaches("/new"));
  }
  // Tables of a kind may lie beside the queue.
  std::ofstream(folder.path() + "/spool/map") << "x y\n";
  const auto spec = confinement_of("tables", values_of("queue_directory = " + queue + "\n"));
  REQUIRE(spec->files.size() == 1);
  CHECK(spec->files.front().path == "/");
}

TEST_CASE("a queue that cannot be found hides nothing") {
  const auto spec = confinement_of("tables", values_of("queue_directory = /nowhere/at/all\n"));
  REQUIRE(spec.has_value());
  REQUIRE(spec->files.size() == 1);
  CHECK(spec->files.front().path == "/");
  CHECK_FALSE(spec->files.front().may_change);
}

TEST_CASE("names in rules are expanded") {
  const auto values =
      values_of("data_directory = /d\nqueue_directory = /q\nmaillog_file = /var/log/mail.log\n");
  CHECK(confinement_of("anvil", values)->files.front().path == "/d/anvil");
  CHECK(confinement_of("postlog", values)->files.front().path == "/var/log");
  CHECK(confinement_of("pickup", values)->files.front().path == "maildrop");
  CHECK_FALSE(confinement_of("spawn", values).has_value());
}

TEST_CASE("without accounts of their own daemons have mail_owner's, and no further groups") {
  const sys::Account owner{
      .name = "o", .uid = 7, .gid = 8, .home = {}, .shell = {}, .groups = {8, 9}};
  const auto values = values_of("process_confinement = none\n");
  for (const auto* const program : {"smtpd", "qmgr", "keyring", "unheard"}) {
    const auto account = account_of(program, values, owner);
    CHECK(account.uid == 7);
    CHECK(account.groups == std::vector<gid_t>{8});
  }
  CHECK(why_accounts_are_shared(values).empty());
  CHECK(own_users(owner).front() == 7);
  CHECK(is_own_group(8, owner));
  CHECK_FALSE(is_own_group(65533, owner));
}

TEST_CASE("each service is for the accounts of its clients, and for no other") {
  struct Case {
    std::string_view program;
    std::vector<std::string_view> accounts;
    bool has_tools, has_others;
  };
  const auto c = GENERATE(values<Case>({
      {"keyring", {"postern-chk", "postern-in", "postern-out"}, false, false},
      {"anvil", {"postern-in"}, false, false},
      {"broker", {"postern-in"}, false, false},
      {"resolver", {"postern-chk", "postern-in", "postern-out"}, false, false},
      {"tables",
       {"postern-auth", "postern-chk", "postern-in", "postern-key", "postern-out"},
       false,
       false},
      {"proxymap", {}, false, false},
      {"mailauth", {"postern-in"}, false, false},
      {"sts", {"postern-out"}, false, false},
      {"reports", {"postern-chk", "postern-out"}, false, false},
      {"auth", {"postern-in", "postern-out"}, false, false},
      {"verify", {"postern-in"}, false, false},
      {"pickup", {}, true, false},
      {"cleanup", {"postern-in", "postern-out"}, false, false},
      {"qmgr", {}, true, false},
      {"bounce", {}, false, false},
      {"flush", {"postern-in"}, true, false},
      {"showq", {}, true, true},
  }));
  INFO(c.program);
  const auto declared = declared_clients(c.program);
  REQUIRE(declared.has_value());
  CHECK(declared->accounts == c.accounts);
  CHECK(declared->has_tools == c.has_tools);
  CHECK(declared->has_others == c.has_others);
}

TEST_CASE("who serves the whole machine has no declared clients") {
  for (const auto* const program : {"smtpd", "spawn", "postlog", "unheard"}) {
    CHECK_FALSE(declared_clients(program).has_value());
  }
}

TEST_CASE("with one account for all nobody who may be a client is refused") {
  const sys::Account owner{.name = "o", .uid = 7, .gid = 8, .home = {}, .shell = {}, .groups = {8}};
  const auto values = values_of("process_confinement = none\nsetgid_group = root\n");
  for (const auto* const program : {"keyring", "tables", "anvil", "sts", "cleanup", "flush"}) {
    const auto peers = clients_of(program, values, owner);
    INFO(program);
    CHECK(peers.users.empty());
    CHECK(peers.refused.empty());
  }
  // Their clients have mail_owner's account in any case.
  for (const auto* const program : {"proxymap", "bounce", "qmgr", "pickup"}) {
    INFO(program);
    CHECK(clients_of(program, values, owner).users == std::vector<uid_t>{7});
  }
  CHECK(clients_of("qmgr", values, owner).group == gid_t{0});
  CHECK_FALSE(clients_of("bounce", values, owner).group.has_value());
  CHECK(clients_of("showq", values, owner).users.empty());
  // A group that is not there could not be told from others.
  CHECK(clients_of("qmgr", values_of("setgid_group = no-such-group\n"), owner).users.empty());
}

TEST_CASE("a private directory of Postfix's making is said to be closed") {
  const Folder folder;
  fs::create_directories(folder.path() + "/private");
  ::chmod((folder.path() + "/private").c_str(), 0700);
  const auto values = values_of("queue_directory = " + folder.path() + "\n");
  const std::string why = why_accounts_are_shared(values);
  // On a machine without the accounts that is said first.
  CHECK((why == folder.path() + "/private is closed to the group of postern-in" ||
         why == "unknown user: postern-in"));
}

}  // namespace postern::daemon
