#include "common/config/sasl_profile.h"

#include <catch2/catch.hpp>

#include "common/config/endpoints.h"
#include "common/config/main_cf.h"
#include "common/config/master_cf.h"
#include "common/config/snapshot.h"

namespace postern::config {

namespace {

Values values_of(std::string_view main_cf, std::string_view master_cf = "") {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->settings = parse_main_cf(main_cf, "/c/main.cf").settings;
  snapshot->services = parse_master_cf(master_cf, "/c/master.cf").services;
  snapshot->index();
  return Values(std::move(snapshot));
}

constexpr std::string_view kNative =
    "myhostname = mx.test\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postern\n"
    "smtpd_sasl_password_maps = hash:/users\n";

}  // namespace

TEST_CASE("a profile goes by one number, as long as nothing of it changes") {
  const auto profile = read_sasl_profile(values_of(kNative));
  CHECK(profile.password_maps == std::vector<std::string>{"hash:/users"});
  CHECK(profile.number() == read_sasl_profile(values_of(kNative)).number());
  for (const std::string change :
       {"smtpd_sasl_pam_service = mail\n", "smtpd_sasl_local_domain = x.test\n",
        "smtpd_sasl_password_maps = hash:/others\n", "smtpd_sasl_type = cyrus\n"}) {
    INFO(change);
    CHECK(read_sasl_profile(values_of(std::string(kNative) + change)).number() != profile.number());
  }
}

TEST_CASE("the auth daemon knows the profiles of main.cf and of each line of master.cf") {
  const auto values =
      values_of(kNative,
                "smtp inet n - n - - smtpd\n"
                "587 inet n - n - - smtpd -o smtpd_sasl_type=cyrus -o smtpd_sasl_path=other\n"
                "588 inet n - n - - smtpd -o smtpd_sasl_type=dovecot\n"
                "589 inet n - n - - smtpd -o smtpd_sasl_auth_enable=no\n");
  const auto profiles = configured_sasl_profiles(values);
  CHECK(profiles.size() == 2);
  CHECK(profiles.contains(read_sasl_profile(values).number()));
  for (const auto& [number, profile] : profiles) {
    if (profile.type == "cyrus") CHECK(profile.path == "other");
  }
  CHECK(configured_sasl_profiles(values_of("smtpd_sasl_type = cyrus\n")).empty());
}

TEST_CASE("broker connects to Dovecot where logins are switched on and are its to judge") {
  CHECK(sasl_endpoint("private/auth").value() == "unix:private/auth");
  CHECK(sasl_endpoint("unix:/run/auth").value() == "unix:/run/auth");
  CHECK(sasl_endpoint("inet:127.0.0.1:12345").value() == "inet:127.0.0.1:12345");
  CHECK_FALSE(sasl_endpoint(""));
  CHECK_FALSE(sasl_endpoint("inet:"));
  const auto found =
      configured_endpoints(values_of("smtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n",
                                     "smtp inet n - n - - smtpd\n"
                                     "587 inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes\n"));
  REQUIRE(found.size() == 1);
  CHECK(found.begin()->second == "unix:private/auth");
  CHECK(configured_endpoints(values_of("smtpd_sasl_type = dovecot\n")).empty());
}

}  // namespace postern::config
