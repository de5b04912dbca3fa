#include <openssl/evp.h>
#include <openssl/pem.h>

#include <catch2/catch.hpp>

#include "common/tls/certificate.h"
#include "keyring/expiry.h"
#include "keyring/purpose.h"
#include "keyring/store.h"

namespace postern::keyring {

using ipc::keyring::Purpose;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kEcdsa = 0x0403;
constexpr std::int64_t kRsaPss = 0x0804;
constexpr std::int64_t kRsaOld = 0x0401;

std::string certificate_verify(std::string_view role, std::size_t hash = 32) {
  return fmt::format("{}TLS 1.3, {} CertificateVerify", std::string(64, ' '), role) + '\0' +
         std::string(hash, 'h');
}

std::string key_exchange() {
  return std::string(64, 'r') + "\x03" + std::string("\x00\x1d\x20", 3) + std::string(32, 'p');
}

std::string message(char type, std::size_t size) {
  std::string text(1, type);
  text += static_cast<char>(size >> 16U);
  text += static_cast<char>(size >> 8U);
  text += static_cast<char>(size);
  return text + std::string(size, 'm');
}

std::string new_key() {
  const tls::KeyPtr key(EVP_EC_gen("P-256"));
  const tls::BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string id_of(const std::string& pem) {
  return tls::key_id(*tls::parse_private_key(pem).value());
}

ipc::keyring::Sign request(const std::string& pem, Purpose purpose, std::string bytes) {
  ipc::keyring::Sign sign;
  sign.key = id_of(pem);
  sign.scheme = kEcdsa;
  sign.purpose = purpose;
  sign.bytes = std::move(bytes);
  return sign;
}

}  // namespace

TEST_CASE("only what a handshake signs is signed, each side its own") {
  struct Case {
    Purpose purpose;
    std::int64_t scheme;
    std::string bytes;
    bool is_good;
  };
  const std::string transcript = message(1, 100) + message(2, 60) + message(11, 500);
  const auto c = GENERATE_COPY(values<Case>({
      {Purpose::kTlsServer, kEcdsa, certificate_verify("server"), true},
      {Purpose::kTlsServer, kRsaPss, certificate_verify("server", 48), true},
      {Purpose::kTlsServer, kRsaOld, certificate_verify("server"), false},
      {Purpose::kTlsServer, kEcdsa, certificate_verify("client"), false},
      {Purpose::kTlsServer, kEcdsa, certificate_verify("server", 31), false},
      {Purpose::kTlsServer, kEcdsa, certificate_verify("server", 0), false},
      {Purpose::kTlsServer, kEcdsa, key_exchange(), true},
      {Purpose::kTlsServer, kRsaOld, key_exchange(), true},
      {Purpose::kTlsServer, kEcdsa, key_exchange() + "x", false},
      {Purpose::kTlsServer, kEcdsa, key_exchange().substr(0, 90), false},
      {Purpose::kTlsServer, kEcdsa,
       std::string(64, 'r') + std::string("\x00\x01p\x00\x01g\x00\x01y", 9), true},
      {Purpose::kTlsServer, kEcdsa,
       std::string(64, 'r') + std::string("\x00\x00\x00\x01g\x00\x01y", 8), false},
      {Purpose::kTlsServer, kEcdsa, transcript, false},
      {Purpose::kTlsServer, kEcdsa, "", false},
      {Purpose::kTlsServer, kEcdsa, "dkim-signature:v=1; a=rsa-sha256", false},
      {Purpose::kTlsClient, kEcdsa, certificate_verify("client"), true},
      {Purpose::kTlsClient, kEcdsa, certificate_verify("server"), false},
      {Purpose::kTlsClient, kRsaOld, transcript, true},
      {Purpose::kTlsClient, kRsaOld, transcript + "x", false},
      {Purpose::kTlsClient, kRsaOld, message(2, 100) + message(1, 100), false},
      {Purpose::kTlsClient, kEcdsa, key_exchange(), false},
      {Purpose::kNone, kEcdsa, key_exchange(), false},
      {Purpose::kDkim, kEcdsa, key_exchange(), false},
  }));
  CHECK(is_for_purpose(c.purpose, c.scheme, c.bytes) == c.is_good);
}

TEST_CASE("texts beyond the limit are refused") {
  const std::string huge = message(1, 100) + message(2, ipc::keyring::kMaxSigned);
  CHECK_FALSE(is_for_purpose(Purpose::kTlsClient, kEcdsa, huge));
  const std::string fits = message(1, 100) + message(2, ipc::keyring::kMaxSigned - 108);
  CHECK(fits.size() == ipc::keyring::kMaxSigned);
  CHECK(is_for_purpose(Purpose::kTlsClient, kEcdsa, fits));
}

TEST_CASE("a key signs for the purpose that its file was named for, and for no other") {
  const std::string server = new_key();
  const std::string client = new_key();
  Store store;
  store.set({{"server.key", Purpose::kTlsServer, server, ""},
             {"client.key", Purpose::kTlsClient, client, ""}});
  CHECK(store.has(id_of(server), Purpose::kTlsServer));
  CHECK_FALSE(store.has(id_of(server), Purpose::kTlsClient));
  CHECK(store.sign(request(server, Purpose::kTlsServer, key_exchange())));
  CHECK_FALSE(store.sign(request(server, Purpose::kTlsClient, certificate_verify("client"))));
  CHECK_FALSE(store.sign(request(client, Purpose::kTlsServer, key_exchange())));
  CHECK(store.sign(request(client, Purpose::kTlsClient, certificate_verify("client"))));
  CHECK_FALSE(store.sign(request(server, Purpose::kTlsServer, "pay the bearer")));
  auto wrong_scheme = request(server, Purpose::kTlsServer, key_exchange());
  wrong_scheme.scheme = kRsaPss;
  CHECK_FALSE(store.sign(wrong_scheme));
}

TEST_CASE("keys that were replaced stay for one change, and no longer") {
  const std::string one = new_key();
  const std::string two = new_key();
  const std::string three = new_key();
  Store store;
  store.set({{"k", Purpose::kTlsServer, one, ""}});
  store.set({{"k", Purpose::kTlsServer, two, ""}});
  CHECK(store.has(id_of(one), Purpose::kTlsServer));
  store.set({{"k", Purpose::kTlsServer, three, ""}});
  CHECK_FALSE(store.has(id_of(one), Purpose::kTlsServer));
  CHECK(store.has(id_of(two), Purpose::kTlsServer));
}

TEST_CASE("a broken key in a file does not take the others along") {
  const std::string good = new_key();
  std::string torn = new_key();
  torn[60] = '!';
  Store store;
  store.set({{"k", Purpose::kTlsServer, torn + good, ""}});
  CHECK(store.size() == 1);
  CHECK(store.has(id_of(good), Purpose::kTlsServer));
}

TEST_CASE(
    "ticket keys are renewed each half lifetime, and old ones live on until they are of no use") {
  TicketStore tickets;
  const loop::TimePoint start{1000h};
  const auto first = tickets.get(3600s, start).value();
  CHECK(first.keys.size() == 1);
  CHECK(first.next == 1801s);
  CHECK(tickets.get(3600s, start + 1799s).value().keys == first.keys);
  const auto second = tickets.get(3600s, start + 1800s).value();
  REQUIRE(second.keys.size() == 2);
  CHECK(second.keys[1] == first.keys[0]);
  CHECK(tickets.get(3600s, start + 3600s).value().keys.size() == 3);
  const auto fourth = tickets.get(3600s, start + 5400s).value();
  CHECK(fourth.keys.size() == 3);
  CHECK(std::ranges::find(fourth.keys, first.keys[0]) == fourth.keys.end());
  // After a long silence nothing old is taken.
  CHECK(tickets.get(3600s, start + 100h).value().keys.size() == 1);
}

TEST_CASE("the end of a certificate is told fourteen days before, and from then on") {
  const std::chrono::system_clock::time_point end(std::chrono::seconds(1'800'000'000));
  const auto text = [&](std::chrono::system_clock::duration before) {
    return expiry_warning("/c.pem", "mx.example.com", end, end - before);
  };
  CHECK(text(24h * 14 + 1s).empty());
  CHECK(text(24h * 14) ==
        "the certificate /c.pem (mx.example.com) ends on 2027-01-15, in 14 days: renew it");
  CHECK(text(24h) ==
        "the certificate /c.pem (mx.example.com) ends on 2027-01-15, in 1 day: renew it");
  CHECK(text(1h) ==
        "the certificate /c.pem (mx.example.com) ends on 2027-01-15, in 0 days: renew it");
  CHECK(text(-1h) == "the certificate /c.pem (mx.example.com) ended on 2027-01-15: renew it");
}

}  // namespace postern::keyring
