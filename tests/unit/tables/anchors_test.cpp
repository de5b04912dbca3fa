#include "tables/anchors.h"

#include <catch2/catch.hpp>

namespace postern::tables {

TEST_CASE("the file of trust anchors is the one that the entry names") {
  CHECK(anchor_file_of("secure match=nexthop tafile=/etc/a.pem") == "/etc/a.pem");
  CHECK(anchor_file_of("secure { tafile = /etc/a b.pem } protocols=TLSv1.2") == "/etc/a b.pem");
  CHECK(anchor_file_of("secure, TAFILE=/etc/a.pem, tafile=/etc/b.pem") == "/etc/b.pem");
  CHECK(anchor_file_of("secure tafile=relative.pem").empty());
  CHECK(anchor_file_of("secure match=nexthop").empty());
}

TEST_CASE("a private key in the file stays there") {
  const std::string certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
  const std::string key = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";
  const std::string public_key = "-----BEGIN PUBLIC KEY-----\nMFk\n-----END PUBLIC KEY-----\n";
  CHECK(public_blocks("words\n" + key + certificate + public_key) == certificate + public_key);
  CHECK(public_blocks("-----BEGIN CERTIFICATE-----\nMII\n").empty());
  CHECK(public_blocks("-----BEGIN ").empty());
  CHECK(public_blocks("").empty());
  CHECK_FALSE(read_anchors("/dev/null").has_value());
}

}  // namespace postern::tables
