#include "common/config/secret_tables.h"

#include <catch2/catch.hpp>

namespace postern::config {

namespace {

SecretReaders secrets_of(std::string_view main_cf, std::string_view master_cf = "") {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->settings = parse_main_cf(main_cf, "main.cf").settings;
  snapshot->services = parse_master_cf(master_cf, "master.cf").services;
  snapshot->index();
  return find_secret_tables(Values(snapshot));
}

}  // namespace

TEST_CASE("the declared parameters exist") {
  for (const auto& secret : kSecretTables) {
    INFO(secret.parameter);
    const auto param = find_param(secret.parameter);
    REQUIRE(param.has_value());
    CHECK(param->type == ParamType::kTables);
  }
}

TEST_CASE("a table of passwords is for the program that logs in with them") {
  CHECK(secrets_of("smtp_sasl_password_maps = hash:/p\ntransport_maps = hash:/t\n") ==
        SecretReaders{{"hash:/p", {"smtp"}}});
}

TEST_CASE("two programs share a table of secrets") {
  CHECK(secrets_of("smtp_sasl_password_maps = hash:/p\nlmtp_sasl_password_maps = hash:/p\n") ==
        SecretReaders{{"hash:/p", {"lmtp", "smtp"}}});
}

TEST_CASE("secret tables are found behind macros, proxy: and -o") {
  CHECK(secrets_of("dir = hash:/etc\nours = $dir/p\nsmtp_sasl_password_maps = proxy:$ours\n") ==
        SecretReaders{{"hash:/etc/p", {"smtp"}}});
  CHECK(secrets_of("", "relay unix - - n - - smtp\n  -o smtp_sasl_password_maps=hash:/p\n") ==
        SecretReaders{{"hash:/p", {"smtp"}}});
}

TEST_CASE("approval for proxymap takes no secret away, another use does") {
  CHECK(secrets_of("smtp_sasl_password_maps = proxy:hash:/p\nproxy_read_maps = proxy:hash:/p\n") ==
        SecretReaders{{"hash:/p", {"smtp"}}});
  CHECK(secrets_of("smtp_sasl_password_maps = hash:/p\ntransport_maps = hash:/p\n").empty());
}

}  // namespace postern::config
