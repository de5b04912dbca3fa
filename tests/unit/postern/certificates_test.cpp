#include "postern/certificates.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "common/config/master_cf.h"
#include "postern/owners.h"
#include "tests/support/folder.h"
#include "tests/unit/tls/make_certificate.h"

namespace postern::control {

namespace {

using namespace config;

constexpr long kDay = 86400;

std::shared_ptr<Snapshot> snapshot_of(const std::string& main_cf) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->config_directory = "/c";
  snapshot->paths = paths_below("/nowhere");
  snapshot->settings = parse_main_cf(main_cf, "/c/main.cf").settings;
  snapshot->services = parse_master_cf("smtp inet n - n - - smtpd\n", "/c/master.cf").services;
  snapshot->index();
  Problems ignored;
  complete_snapshot(*snapshot, ignored);
  return snapshot;
}

// The problems of one certificate and one key.
Problems check_pair(const std::string& certificate, const std::string& key) {
  return check_certificates(snapshot_of("smtpd_tls_security_level = may\nsmtpd_tls_cert_file = " +
                                        certificate + "\nsmtpd_tls_key_file = " + key + "\n"));
}

}  // namespace

TEST_CASE("certificates that ended, end soon, or do not fit their key are told") {
  const Folder folder;
  const auto good = tls::make_certificate({.common_name = "mx.test", .valid_for = 90 * kDay});
  const auto other = tls::make_certificate({.common_name = "other.test", .valid_for = 90 * kDay});
  const auto old = tls::make_certificate(
      {.common_name = "old.test", .valid_from = -3 * kDay, .valid_for = kDay});
  const auto ending = tls::make_certificate({.common_name = "soon.test", .valid_for = 5 * kDay});
  const std::string key = folder.write("key.pem", good.key);

  CHECK(check_pair(folder.write("good.pem", good.certificate), key).empty());

  const auto mixed = check_pair(folder.write("other.pem", other.certificate), key);
  REQUIRE(mixed.size() == 1);
  CHECK(mixed[0].severity == Severity::kError);
  CHECK(mixed[0].parameter == "smtpd_tls_cert_file");
  CHECK(mixed[0].line == 2);

  const auto ended =
      check_pair(folder.write("old.pem", old.certificate), folder.write("old.key", old.key));
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].severity == Severity::kError);
  CHECK(ended[0].text.find("the certificate of old.test ended on ") != std::string::npos);

  const auto soon = check_pair(folder.write("soon.pem", ending.certificate),
                               folder.write("soon.key", ending.key));
  REQUIRE(soon.size() == 1);
  CHECK(soon[0].severity == Severity::kWarning);
  CHECK(soon[0].text.find("the certificate of soon.test ends on ") != std::string::npos);

  const auto absent = check_pair(folder.path() + "/no.pem", key);
  REQUIRE_FALSE(absent.empty());
  CHECK(absent[0].text.find("No such file or directory") != std::string::npos);
}

TEST_CASE("queue directories with the wrong owner, mode or kind are told") {
  const Folder folder;
  const auto snapshot =
      snapshot_of("queue_directory = " + folder.path() + "\ndata_directory = " + folder.path() +
                  "/data\nmail_owner = root\nsetgid_group = root\n");
  const Values values(snapshot);
  CHECK_FALSE(has_error(make_directories(values)));
  const auto about = [&](const std::string& path) {
    std::string texts;
    for (const Problem& problem : check_owners(values)) {
      if (problem.file == path) texts += problem.text.substr(0, problem.text.find(':')) + "\n";
    }
    return texts;
  };
  const std::string active = folder.path() + "/active";
  const std::string hold = folder.path() + "/hold";
  if (::geteuid() == 0) CHECK(about(active).empty());
  REQUIRE(::chmod(active.c_str(), 0777) == 0);
  CHECK(about(active).find("group or other writable") != std::string::npos);
  std::filesystem::remove(hold);
  CHECK(folder.write("hold", "x") == hold);
  CHECK(about(hold).find("not a directory") != std::string::npos);
  if (::geteuid() == 0) {
    REQUIRE(::chown(active.c_str(), 12345, 0) == 0);
    CHECK(about(active).find("not owned by root") != std::string::npos);
  }
}

}  // namespace postern::control
