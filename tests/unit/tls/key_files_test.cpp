#include "common/tls/key_files.h"

#include <catch2/catch.hpp>

#include "common/config/load.h"
#include "common/tls/certificate.h"
#include "common/tls/server_name.h"
#include "make_certificate.h"

namespace postern::tls {

namespace {

config::Values values_of(std::vector<std::pair<std::string, std::string>> settings) {
  auto snapshot = std::make_shared<config::Snapshot>();
  for (auto& [name, value] : settings) {
    config::Setting setting;
    setting.name = std::move(name);
    setting.value = std::move(value);
    snapshot->settings.push_back(std::move(setting));
  }
  snapshot->index();
  return config::Values(snapshot);
}

}  // namespace

TEST_CASE("what becomes public of a file has no private key in it, and the rest as it was") {
  const auto made = make_certificate({.common_name = "a.example"});
  const std::string text = "# ours\n" + made.key + made.certificate + "# end\n";
  CHECK(public_part(text) == "# ours\n" + std::string(kKeyMark) + made.certificate + "# end\n");
  CHECK(private_part(text) == made.key);
  CHECK(public_part(made.certificate) == made.certificate);
  CHECK(private_part(made.certificate).empty());
  // A key that was cut off is not public either.
  CHECK(public_part(made.certificate + made.key.substr(0, 60)) ==
        made.certificate + std::string(kKeyMark));
  CHECK(public_part("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nrest") ==
        std::string(kKeyMark) + "rest");
}

TEST_CASE("chain files without their keys still say which certificates belong together") {
  const auto one = make_certificate({.common_name = "one.example"});
  const auto two = make_certificate({.common_name = "two.example", .is_rsa = true});
  const auto ca = make_certificate({.common_name = "CA", .is_authority = true});
  const auto parsed = parse_public_identities(
      public_part(one.key + one.certificate + ca.certificate + two.key + two.certificate), true);
  REQUIRE(parsed);
  REQUIRE(parsed->size() == 2);
  CHECK((*parsed)[0]->issuers.size() == 1);
  CHECK(subject_cn(*(*parsed)[1]->certificate) == "two.example");
  CHECK_FALSE(parse_public_identities(public_part(one.key), true));
}

TEST_CASE("a certificate whose key is of an unknown kind is refused in words") {
  // The curve's name is no curve's.
  const auto parsed = parse_public_identities(
      "-----BEGIN CERTIFICATE-----\n"
      "MIIBfTCCASOgAwIBAgIUQknFiVKkl+iFdS6zZ0+3Q7sPvRkwCgYIKoZIzj0EAwIw\n"
      "FDESMBAGA1UEAwwJYS5leGFtcGxlMB4XDTI2MTEyOTA5NDA0MFoXDTM2MTEyNjA5\n"
      "NDA0MFowFDESMBAGA1UEAwwJYS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIZjoKzI0D\n"
      "AQcDQgAEUCPbiSVW9ew6mryHw223yIjsg77cdCA7kv0gZc4oUPxoWl/EgzZAQwKv\n"
      "S+ATQlI6HvlL0tQCoBDbjF9zJs5DzqNTMFEwHQYDVR0OBBYEFGf8xOGJHNZAXUNj\n"
      "1elss8xxarQfMB8GA1UdIwQYMBaAFGf8xOGJHNZAXUNj1elss8xxarQfMA8GA1Ud\n"
      "EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAPD4V+dW+xVJe+4wvOooN3CT\n"
      "eCQAKVcX0rBQrAVafjodAiBbz3yoQQTFrz6XCWbCfqd1eaUg1/ooHMwJcPm/m3cq\n"
      "kA==\n"
      "-----END CERTIFICATE-----\n",
      false);
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().text.find("public key") != std::string::npos);
}

TEST_CASE(
    "the files are those of the chain list, or of the older names, each key behind its "
    "certificate") {
  const auto old = named_files(values_of({{"smtpd_tls_cert_file", "/c"},
                                          {"smtpd_tls_eccert_file", "/ec"},
                                          {"smtpd_tls_eckey_file", "/eckey"},
                                          {"smtpd_tls_CAfile", "/ca"},
                                          {"smtpd_tls_dh1024_param_file", "auto"}}),
                               Role::kServer);
  const std::vector<NamedFile> wanted = {{"smtpd_tls_cert_file", "/c", FileKind::kCertificate},
                                         {"smtpd_tls_key_file", "/c", FileKind::kKey},
                                         {"smtpd_tls_eccert_file", "/ec", FileKind::kCertificate},
                                         {"smtpd_tls_eckey_file", "/eckey", FileKind::kKey},
                                         {"smtpd_tls_CAfile", "/ca", FileKind::kAuthorities}};
  CHECK(old == wanted);
  const auto chain = named_files(
      values_of({{"smtpd_tls_cert_file", "/c"}, {"smtpd_tls_chain_files", "/k, /chain"}}),
      Role::kServer);
  CHECK(chain == std::vector<NamedFile>{{"smtpd_tls_chain_files", "/k", FileKind::kChain},
                                        {"smtpd_tls_chain_files", "/chain", FileKind::kChain}});
  CHECK(named_files(values_of({{"smtpd_tls_cert_file", "none"}}), Role::kServer).empty());
  CHECK(named_files(
            values_of({{"smtp_tls_cert_file", "/s"}, {"lmtp_tls_cert_file", "/l"}}).for_lmtp(),
            Role::kClient)[0] == NamedFile{"lmtp_tls_cert_file", "/l", FileKind::kCertificate});
}

TEST_CASE("a client's name is taken when it is one") {
  const auto extension = [](std::string_view name) {
    std::string text;
    text += '\0';
    text += static_cast<char>(name.size() + 3);
    text += std::string(2, '\0');
    text += static_cast<char>(name.size());
    return text + std::string(name);
  };
  CHECK(parse_server_name(extension("MX.Example.com")) == "mx.example.com");
  CHECK_FALSE(parse_server_name(extension("mx.example.com") + "x"));
  CHECK_FALSE(parse_server_name(extension("mx.example.com").substr(0, 12)));
  for (const auto* const bad : {"", ".example.com", "a..b", "a/b", "-x", "a b"}) {
    INFO(bad);
    CHECK_FALSE(parse_server_name(extension(bad)));
  }
}

}  // namespace postern::tls
