#include "common/config/install_paths.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/config/load.h"
#include "common/config/values.h"
#include "tests/support/folder.h"

namespace postern::config {

namespace {}  // namespace

TEST_CASE("/usr has its files in /etc and /var, any other prefix below itself") {
  const InstallPaths usr = paths_below("/usr/");
  CHECK(usr.config_directory == "/etc/postern");
  CHECK(usr.aliases == "/etc/aliases");
  CHECK(usr.queue_directory == "/var/spool/postern");
  CHECK(usr.daemon_directory == "/usr/libexec/postern");
  const InstallPaths opt = paths_below("/opt/p");
  CHECK(opt.config_directory == "/opt/p/etc/postern");
  CHECK(opt.aliases == "/opt/p/etc/aliases");
  CHECK(opt.data_directory == "/opt/p/var/lib/postern");
  CHECK(opt.command_directory == "/opt/p/sbin");
}

TEST_CASE("a program's place shows its prefix") {
  CHECK(prefix_of_program("/opt/p/libexec/postern/smtpd") == "/opt/p");
  CHECK(prefix_of_program("/usr/sbin/postern") == "/usr");
  CHECK(prefix_of_program("/x/bin/mailq") == "/x");
  CHECK(prefix_of_program("/tmp/unit_config").empty());
  CHECK(prefix_of_program("/sbin/postern").empty());
}

TEST_CASE("-c goes before MAIL_CONFIG, and that before the default") {
  const Folder scratch;
  const InstallPaths paths = paths_below(scratch / "p");
  scratch.write("p/etc/postern/main.cf", "alternate_config_directories = /some/where, /else/\n");
  setenv("MAIL_CONFIG", "/from/env", 1);
  CHECK(choose_config_directory("/from/option/", paths).value().path == "/from/option");
  CHECK(choose_config_directory("", paths).value().path == "/from/env");
  unsetenv("MAIL_CONFIG");
  CHECK(choose_config_directory("", paths).value().path == paths.config_directory);

  CHECK(is_trusted_config_directory(paths.config_directory, paths));
  CHECK(is_trusted_config_directory("/some/where", paths));
  CHECK(is_trusted_config_directory("/else", paths));
  CHECK_FALSE(is_trusted_config_directory("/some", paths));
}

TEST_CASE("a configuration is read from its directory, with what the machine adds") {
  const Folder scratch;
  const InstallPaths paths = paths_below(scratch / "p");
  scratch.write("nets", "192.0.2.0/24\n");
  scratch.write("c/main.cf", "mydomain = example.org\nmyhostname = mx.$mydomain\nmynetworks = " +
                                 (scratch / "nets") +
                                 "\ninet_interfaces = 127.0.0.1\ndaemon_directory = /bin\n");
  scratch.write("c/master.cf", "smtp inet n - n - - smtpd\nbroken\n");
  const auto loaded = load_configuration(scratch / "c", paths);
  REQUIRE(loaded.has_value());
  REQUIRE(loaded->problems.size() == 2);
  CHECK(loaded->problems[0].text.starts_with("bad field count"));
  CHECK(loaded->problems[1].severity == Severity::kWarning);
  CHECK(loaded->problems[1].line == 5);

  const Values values(loaded->snapshot);
  CHECK(values.text("myhostname") == "mx.example.org");
  CHECK(values.text("daemon_directory") == paths.daemon_directory);
  CHECK(values.text("queue_directory") == paths.queue_directory);
  CHECK(loaded->snapshot->own_addresses == std::vector<std::string>{"127.0.0.1"});
  CHECK(values.file(scratch / "nets") == "192.0.2.0/24\n");
  CHECK_FALSE(load_configuration(scratch / "none", paths).has_value());
}

TEST_CASE("mydomain follows a myhostname that is set, and the other way round") {
  const Folder scratch;
  const InstallPaths paths = paths_below(scratch / "p");
  scratch.write("c/master.cf", "");
  scratch.write("c/main.cf", "myhostname = mx.sub.example.org\ninet_interfaces = 127.0.0.1\n");
  CHECK(Values(load_configuration(scratch / "c", paths)->snapshot).text("mydomain") ==
        "sub.example.org");
  scratch.write("c/main.cf",
                "mynetworks_style = host\ninet_interfaces = 127.0.0.1\nmyhostname = single\n");
  const Values values(load_configuration(scratch / "c", paths)->snapshot);
  CHECK(values.text("mydomain") == "localdomain");
  CHECK(values.text("mynetworks") == "127.0.0.1/32");
}

}  // namespace postern::config
