#include "smtpd/tls.h"

#include <catch2/catch.hpp>

namespace postern::smtpd {

namespace {

TlsSettings settings_of(std::vector<std::pair<std::string, std::string>> lines,
                        config::Problems& problems) {
  auto snapshot = std::make_shared<config::Snapshot>();
  for (auto& [name, value] : lines) {
    config::Setting setting;
    setting.name = std::move(name);
    setting.value = std::move(value);
    snapshot->settings.push_back(std::move(setting));
  }
  snapshot->index();
  return read_tls_settings(config::Values(snapshot), problems);
}

}  // namespace

TEST_CASE("the security level says what is offered and demanded, in new and old words") {
  struct Case {
    std::vector<std::pair<std::string, std::string>> lines;
    bool is_offered, is_demanded, is_wrapped;
  };
  const auto c = GENERATE(values<Case>({
      {{}, false, false, false},
      {{{"smtpd_tls_security_level", "none"}}, false, false, false},
      {{{"smtpd_tls_security_level", "may"}}, true, false, false},
      {{{"smtpd_tls_security_level", "encrypt"}}, true, true, false},
      {{{"smtpd_use_tls", "yes"}}, true, false, false},
      {{{"smtpd_enforce_tls", "yes"}}, true, true, false},
      {{{"smtpd_enforce_tls", "yes"}, {"smtpd_tls_security_level", "may"}}, true, false, false},
      {{{"smtpd_tls_wrappermode", "yes"}}, false, true, true},
      {{{"smtpd_tls_wrappermode", "yes"}, {"smtpd_tls_security_level", "may"}}, false, true, true},
  }));
  config::Problems problems;
  const auto settings = settings_of(c.lines, problems);
  CHECK(settings.is_offered == c.is_offered);
  CHECK(settings.is_demanded == c.is_demanded);
  CHECK(settings.is_wrapped == c.is_wrapped);
  CHECK(problems.empty());
}

TEST_CASE("a client certificate can only be demanded where TLS is") {
  config::Problems problems;
  const auto soft =
      settings_of({{"smtpd_tls_security_level", "may"}, {"smtpd_tls_req_ccert", "yes"}}, problems);
  CHECK(soft.asks_certificate);
  CHECK_FALSE(soft.demands_certificate);
  CHECK(problems.size() == 1);
  problems.clear();
  const auto hard = settings_of(
      {{"smtpd_tls_security_level", "encrypt"}, {"smtpd_tls_req_ccert", "yes"}}, problems);
  CHECK(hard.demands_certificate);
  CHECK(problems.empty());
}

TEST_CASE("an unknown digest is named, and sha256 is used") {
  config::Problems problems;
  const auto settings = settings_of(
      {{"smtpd_tls_security_level", "may"}, {"smtpd_tls_fingerprint_digest", "sha257"}}, problems);
  CHECK(settings.fingerprint_digest == "sha256");
  REQUIRE(problems.size() == 1);
}

}  // namespace postern::smtpd
