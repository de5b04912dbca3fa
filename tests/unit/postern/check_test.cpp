#include "postern/check.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "postern/owners.h"

namespace postern::control {

namespace {

using namespace config;

Snapshot snapshot_of(std::string_view main_cf, std::string_view master_cf = "") {
  Snapshot snapshot;
  snapshot.config_directory = "/c";
  snapshot.paths = paths_below("/nowhere");
  snapshot.settings = parse_main_cf(main_cf, "/c/main.cf").settings;
  snapshot.services = parse_master_cf(master_cf, "/c/master.cf").services;
  snapshot.index();
  Problems ignored;
  complete_snapshot(snapshot, ignored);
  return snapshot;
}

std::vector<std::string> texts(const Problems& problems) {
  std::vector<std::string> list;
  for (const Problem& p : problems) {
    list.push_back((p.severity == Severity::kError ? "error " : "warning ") + place_of(p) + " " +
                   p.text);
  }
  return list;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("bad values are errors, in main.cf and behind -o") {
  CHECK(texts(check_values(snapshot_of("smtpd_soft_error_limit = x\nmydestination = ${\n"
                                       "slow_destination_rate_delay = y\n",
                                       "smtp inet n - n - - smtpd -o smtpd_timeout=z\n"))) ==
        Texts{"error /c/main.cf:1 smtpd_soft_error_limit: bad numerical value \"x\"",
              "error /c/main.cf:2 mydestination: missing closing bracket in reference to a "
              "parameter: \"{\"",
              "error /c/main.cf:3 slow_destination_rate_delay: bad time \"y\": a number and s, m, "
              "h, d or w expected",
              "error /c/master.cf:1 smtpd_timeout: bad time \"z\": a number and s, m, h, d or w "
              "expected"});
}

TEST_CASE("logins that cannot work are named") {
  CHECK(
      texts(check_logins(snapshot_of("smtpd_sasl_auth_enable = yes\n"
                                     "smtpd_sasl_type = dovecott\n"
                                     "smtpd_sasl_security_options = noanonymous, noplaintxt\n"
                                     "smtp_sasl_auth_enable = yes\n",
                                     "smtp inet n - n - - smtpd\n"
                                     "smtp unix - - n - - smtp\n"))) ==
      Texts{"error /c/main.cf:3 smtpd_sasl_security_options: unknown security option: noplaintxt",
            "error /c/main.cf:2 smtpd_sasl_type: unsupported SASL server implementation: dovecott",
            "error /c/main.cf:4 smtp_sasl_auth_enable: specify a password table with "
            "smtp_sasl_password_maps"});
  CHECK(texts(check_logins(snapshot_of("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\n"
                                       "smtpd_sasl_path = /nowhere/auth\n",
                                       "smtp inet n - n - - smtpd\n"
                                       "587 inet n - n - - smtpd -o smtpd_sasl_type=postern\n"))) ==
        Texts{"warning /c/main.cf:3 smtpd_sasl_path: /nowhere/auth: no authentication server "
              "listens there",
              "error /c/master.cf:2 smtpd_sasl_type: postern needs smtpd_sasl_password_maps or "
              "smtpd_sasl_pam_service, and neither is set"});
  CHECK(check_logins(snapshot_of("smtpd_sasl_type = x\n", "smtp inet n - n - - smtpd\n")).empty());
}

TEST_CASE("programs that nobody knows are errors, those that are not built warnings") {
  CHECK(texts(check_services(snapshot_of("",
                                         "a unix - - n - - smptd\n"
                                         "b unix - - n - - ../smtp\n"
                                         "c unix - - n - - spawn\n"
                                         "d unix - - n - - tlsproxy\n"
                                         "d unix - - n - - tlsmgr\n"))) ==
        Texts{"error /c/master.cf:1 a: unknown program: /nowhere/libexec/postern/smptd is missing",
              "error /c/master.cf:2 b: program \"../smtp\" must be in /nowhere/libexec/postern",
              "warning /c/master.cf:3 c: program spawn is not supported yet: "
              "/nowhere/libexec/postern/spawn is missing",
              "warning /c/master.cf:5 d: overrides the unix service of the same name in line 4"});
}

TEST_CASE("tables that are missing are errors, their sources and ages are told") {
  std::string name = std::filesystem::temp_directory_path() / "postern-check-XXXXXX";
  const std::string d = mkdtemp(name.data());
  std::ofstream(d + "/t") << "x";
  std::ofstream(d + "/old") << "x";
  std::ofstream(d + "/old.lmdb") << "x";
  const auto now = std::filesystem::last_write_time(d + "/old");
  std::filesystem::last_write_time(d + "/old.lmdb", now - std::chrono::minutes(1));
  const Problems problems =
      check_tables(snapshot_of("alias_maps =\nalias_database =\n"
                               "transport_maps = hash:" +
                               d + "/t, regexp:" + d +
                               "/none inline:{a=b}\n"
                               "virtual_alias_maps = lmdb:" +
                               d +
                               "/old, bogus:x, mysql:y, word\n"
                               "smtpd_recipient_restrictions = check_client_access cidr:" +
                               d + "/gone, permit\n"));
  auto sorted = texts(problems);
  std::ranges::sort(sorted);
  Texts expected{
      "error /c/main.cf:3 transport_maps: hash:" + d + "/t: " + d +
          "/t.db is missing; make it "
          "with: postmap hash:" +
          d + "/t",
      "error /c/main.cf:3 transport_maps: regexp:" + d + "/none: " + d + "/none is missing",
      "warning /c/main.cf:4 virtual_alias_maps: " + d + "/old.lmdb is older than its source " + d +
          "/old",
      "error /c/main.cf:4 virtual_alias_maps: open database " + d +
          "/old.lmdb: MDB_INVALID: File is not an LMDB file",
      "error /c/main.cf:4 virtual_alias_maps: bogus:x: unknown table type \"bogus\"",
      "warning /c/main.cf:4 virtual_alias_maps: mysql:y: table type mysql is not supported yet",
      "error /c/main.cf:4 virtual_alias_maps: \"word\" is no table: type:name expected",
      "error /c/main.cf:5 smtpd_recipient_restrictions: cidr:" + d + "/gone: " + d +
          "/gone is missing"};
  std::ranges::sort(expected);
  CHECK(sorted == expected);
  std::filesystem::remove_all(d);
}

TEST_CASE("rules that do not parse are named with their lines, wherever the table is used") {
  std::string name = std::filesystem::temp_directory_path() / "postern-check-XXXXXX";
  const std::string d = mkdtemp(name.data());
  std::ofstream(d + "/re") << "/fine/ OK\n/(open/ REJECT\n";
  std::ofstream(d + "/ci") << "10.0.0.0/8 OK\n1.2.3 OK\n";
  std::ofstream(d + "/th") << "word\n";
  const Snapshot snapshot =
      snapshot_of("alias_maps =\nalias_database =\nheader_checks = pcre:" + d +
                      "/re\nbody_checks = regexp:{{/x/ y}, {/(/ z}}\n"
                      "relocated_maps = texthash:" +
                      d +
                      "/th\n"
                      "smtpd_client_restrictions = check_client_access cidr:" +
                      d + "/ci\n",
                  "smtp inet n - n - - smtpd\n");
  const auto has = [](const Texts& all, std::string_view start, std::string_view end) {
    return std::ranges::any_of(
        all, [&](const auto& text) { return text.starts_with(start) && text.ends_with(end); });
  };
  const Texts tables = texts(check_tables(snapshot));
  CAPTURE(tables);
  CHECK(tables.size() == 4);
  CHECK(has(tables, "warning /c/main.cf:3 header_checks: pcre map " + d + "/re, line 2: ",
            "missing closing parenthesis"));
  CHECK(
      has(tables, "warning /c/main.cf:4 body_checks: regexp map {{/x/ y}, {/(/ z}}, line 2: ", ""));
  CHECK(has(tables, "warning /c/main.cf:5 relocated_maps: " + d + "/th, line 1: ", ""));
  CHECK(has(texts(check_restrictions(snapshot)),
            "warning /c/main.cf:6 smtpd_client_restrictions: cidr map " + d + "/ci, line 2: ", ""));
  std::filesystem::remove_all(d);
}

TEST_CASE("an smtpd that would relay for strangers is an error") {
  const char* const smtpd = "smtp inet n - n - - smtpd\n";
  CHECK(check_restrictions(snapshot_of("compatibility_level = 3.6\n", smtpd)).empty());
  CHECK(check_restrictions(snapshot_of("smtpd_recipient_restrictions = permit_mynetworks, reject\n"
                                       "smtpd_relay_restrictions =\n",
                                       smtpd))
            .empty());
  CHECK(check_restrictions(snapshot_of("smtpd_relay_restrictions = permit\n", smtpd)).size() == 1);
  CHECK(check_restrictions(snapshot_of("compatibility_level = 0\n", smtpd)).size() == 1);
  CHECK(check_restrictions(snapshot_of("smtpd_relay_restrictions = permit\n",
                                       "smtp inet n - n - - smtpd -o "
                                       "smtpd_relay_restrictions=permit_mynetworks,reject\n"))
            .empty());
}

TEST_CASE("restriction lists are read as smtpd reads them") {
  const char* const smtpd = "smtp inet n - n - - smtpd\n";
  const char* const lists =
      "smtpd_recipient_restrictions = permit_mynetwork, reject_unauth_destination, permit,\n"
      "  reject_rbl_client bl.example.org\n"
      "smtpd_sender_restrictions = check_sender_access hsah:/c/senders, warn_if_reject\n"
      "smtpd_restriction_classes = one, two\n"
      "one = two\n"
      "two = one\n";
  CHECK(texts(check_restrictions(snapshot_of(lists, smtpd))) ==
        Texts{"error /c/main.cf:1 smtpd_recipient_restrictions: unknown restriction: "
              "\"permit_mynetwork\"; did you mean permit_mynetworks?",
              "warning /c/main.cf:3 smtpd_sender_restrictions: warn_if_reject at the end has "
              "nothing to stand before",
              "warning /c/main.cf:1 smtpd_recipient_restrictions: \"reject_rbl_client\" and what "
              "follows is never reached: \"permit\" stands before it",
              "error /c/main.cf:5 one: restriction class one leads back to itself",
              "error /c/main.cf:6 two: restriction class two leads back to itself",
              "error /c/main.cf:3 smtpd_sender_restrictions: hsah:/c/senders: unknown table type "
              "\"hsah\""});
  // A class may guard, too.
  CHECK(check_restrictions(snapshot_of("smtpd_relay_restrictions = guard\n"
                                       "smtpd_restriction_classes = guard\n"
                                       "guard = permit_mynetworks, reject\n",
                                       smtpd))
            .empty());
}

TEST_CASE("two services do not share a port") {
  CHECK(
      texts(check_listeners(snapshot_of("inet_interfaces = 192.0.2.7\n",
                                        "smtp inet n - n - - smtpd\n"
                                        "25 inet n - n - - smtpd\n"
                                        "127.0.0.1:25 inet n - n - - smtpd\n"
                                        "[::1]:25 inet n - n - - smtpd\n"
                                        "127.0.0.1:smtp inet n - n - - smtpd\n"
                                        "smtp unix - - n - - smtp\n"
                                        "no-such-port inet n - n - - smtpd\n"))) ==
      Texts{"error /c/master.cf:2 25: smtp in line 1 listens on the same port",
            "error /c/master.cf:5 127.0.0.1:smtp: 127.0.0.1:25 in line 3 listens on the same port",
            "warning /c/master.cf:7 no-such-port: unknown service: no-such-port/tcp"});
}

TEST_CASE("a service on one address is in the way of one on all of them") {
  CHECK(texts(check_listeners(snapshot_of("inet_interfaces = all\n",
                                          "smtp inet n - n - - smtpd\n"
                                          "192.0.2.1:25 inet n - n - - smtpd\n"
                                          "192.0.2.1:587 inet n - n - - smtpd\n"))) ==
        Texts{"warning /c/master.cf:2 192.0.2.1:25: smtp in line 1 listens on the same port of all "
              "addresses"});
}

TEST_CASE("a list that refuses nothing is told, one that guards is not") {
  const char* const smtpd = "smtp inet n - n - - smtpd\n";
  CHECK(
      texts(check_restrictions(
          snapshot_of("compatibility_level = 3.6\n"
                      "smtpd_client_restrictions = permit_mynetworks, permit_sasl_authenticated\n"
                      "smtpd_helo_restrictions = permit_mynetworks, reject_invalid_helo_hostname\n"
                      "smtpd_sender_restrictions = sleep 1\n",
                      smtpd))) ==
      Texts{"warning /c/main.cf:2 smtpd_client_restrictions: nothing in the list refuses, and who "
            "comes to its end is let through: it decides nothing",
            "warning /c/main.cf:4 smtpd_sender_restrictions: nothing in the list refuses, and who "
            "comes to its end is let through: it decides nothing"});
  CHECK(
      texts(check_restrictions(snapshot_of("compatibility_level = 3.6\n"
                                           "smtpd_client_restrictions = check_client_access\n"
                                           "smtpd_helo_restrictions = check_helo_access { "
                                           "inline:{ a=OK }, { x = y } }, check_helo_access word\n",
                                           smtpd))) ==
      Texts{"error /c/main.cf:2 smtpd_client_restrictions: check_client_access needs an argument",
            "error /c/main.cf:3 smtpd_helo_restrictions: check_helo_access: attribute \"x\" is not "
            "known here",
            "error /c/main.cf:3 smtpd_helo_restrictions: check_helo_access: \"word\" is no table: "
            "a type and a colon are missing"});
}

TEST_CASE("behind a chroot a service must find what it opens there") {
  std::string name = std::filesystem::temp_directory_path() / "postern-check-XXXXXX";
  const std::string d = mkdtemp(name.data());
  std::filesystem::create_directories(d + "/var/mail");
  const std::string main_cf = "queue_directory = " + d +
                              "\nmail_spool_directory = /var/mail\n"
                              "virtual_mailbox_base = /var/vmail\n";
  CHECK(
      texts(check_chroots(snapshot_of(main_cf,
                                      "smtp inet n - y - - smtpd\n"
                                      "local unix - n y - - local\n"
                                      "virtual unix - n y - - virtual\n"
                                      "policy unix - n y - - spawn user=nobody argv=/bin/no -x\n"
                                      "other unix - n n - - spawn user=nobody argv=/bin/no\n"))) ==
      Texts{"error /c/master.cf:3 virtual: virtual sees " + d +
                " as its root, where /var/vmail is missing; make it there or write n for chroot",
            "error /c/master.cf:4 policy: spawn sees " + d +
                " as its root, where /bin/no is missing; make it there or write n for chroot"});
  std::filesystem::remove_all(d);
}

TEST_CASE("ports that somebody else has are told") {
  const int other = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(other, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(other, 1) == 0);
  socklen_t size = sizeof address;
  REQUIRE(::getsockname(other, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const std::string port = std::to_string(ntohs(address.sin_port));
  const auto snapshot =
      snapshot_of("queue_directory = /nowhere\n",
                  "127.0.0.1:" + port + " inet n - n - - smtpd\n" + "[203.0.113.9]:" + port +
                      " inet n - n - - smtpd\n" + "no-such-port inet n - n - - smtpd\n");
  CHECK(texts(check_busy_ports(snapshot)) ==
        Texts{"warning /c/master.cf:1 127.0.0.1:" + port + ": 127.0.0.1 port " + port +
                  ": another program listens there",
              "warning /c/master.cf:2 [203.0.113.9]:" + port + ": 203.0.113.9 port " + port +
                  ": this machine has no such address"});
  ::close(other);
  CHECK(check_busy_ports(snapshot).size() == 1);
}

TEST_CASE("accounts must exist") {
  CHECK(
      texts(check_accounts(snapshot_of(
          "mail_owner = no-such-user\nsetgid_group = no-such-group\ndefault_privs = nobody\n"))) ==
      Texts{"error /c/main.cf:1 mail_owner: there is no user \"no-such-user\"",
            "error /c/main.cf:2 setgid_group: there is no group \"no-such-group\""});
}

TEST_CASE("problems print aligned, with a summary, and as JSON") {
  const Problems problems = {{"/c/main.cf", 14, "a", "a: unknown", Severity::kWarning},
                             {"/c/master.cf", 3, "", "bad \"x\"", Severity::kError}};
  CHECK(print_problems(problems, "/c") ==
        "main.cf:14   warning  a: unknown\n"
        "master.cf:3  error    bad \"x\"\n"
        "1 error, 1 warning\n");
  CHECK(print_problems({}, "/c").empty());
  CHECK(print_problems_json({}) == "[]\n");
  CHECK(print_problems_json(problems).find("\"text\": \"bad \\\"x\\\"\"") != std::string::npos);
}

TEST_CASE("the table of owners is understood, and a bad one refused") {
  auto snapshot = std::make_shared<Snapshot>(
      snapshot_of("queue_directory = /q\nmail_owner = someone\nsetgid_group = drop\n"));
  const Values values(snapshot);
  const auto rules = owner_rules(values);
  const auto maildrop = std::ranges::find(rules, "/q/maildrop", &OwnerRule::path);
  REQUIRE(maildrop != rules.end());
  CHECK(maildrop->owner == "someone");
  CHECK(maildrop->group == "drop");
  CHECK(maildrop->mode == 0730);
  for (const char* text : {"directory /x root - 9999", "thing /x root - 0755", "file /x root -",
                           "file ${x root - 0755"}) {
    INFO(text);
    CHECK_FALSE(parse_owner_rules(text, values).has_value());
  }
}

TEST_CASE("missing directories are made, parents too") {
  std::string name = std::filesystem::temp_directory_path() / "postern-owners-XXXXXX";
  const std::string d = mkdtemp(name.data());
  auto snapshot = std::make_shared<Snapshot>(
      snapshot_of("queue_directory = " + d + "/a/spool\ndata_directory = " + d + "/lib\n"));
  snapshot->computed["config_directory"] = d + "/etc";
  snapshot->index();
  CHECK_FALSE(has_error(make_directories(Values(snapshot))));
  CHECK(std::filesystem::is_directory(d + "/a/spool/maildrop"));
  CHECK(std::filesystem::is_directory(d + "/a/spool/private"));
  CHECK(std::filesystem::is_directory(d + "/lib"));
  std::filesystem::remove_all(d);
}

}  // namespace postern::control
