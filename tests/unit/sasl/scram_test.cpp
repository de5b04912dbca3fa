#include "common/sasl/scram.h"

#include <catch2/catch.hpp>

#include "common/base/encode.h"

namespace postern::sasl {

namespace {

struct Example {
  Hash hash;
  std::string_view client_nonce, server_nonce, salt, proof, signature;
};

// RFC 5802 5 and RFC 7677 3.
const Example kSha1{
    Hash::kSha1,        "fyko+d2lbbFgONRv9qkxdawL",     "3rfcNHYJY1ZVvWVs7j",
    "QSXCR+Q6sek8bf92", "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="};
const Example kSha256{Hash::kSha256,
                      "rOprNGfwEbeRWgbNEkqO",
                      "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                      "W22ZaJ0SNY7soEsUEjb6gQ==",
                      "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                      "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="};

ScramEntry pencil() {
  return make_scram_entry(Hash::kSha256, "pencil", *base64_decode(kSha256.salt), 4096);
}

}  // namespace

TEST_CASE("both sides say what the examples of the RFCs say") {
  const auto example = GENERATE(kSha1, kSha256);
  const auto entry =
      make_scram_entry(example.hash, "pencil", *base64_decode(example.salt), kScramIterations);
  ScramServer server(example.hash, false, "", "");
  ScramClient client(example.hash, "user", "pencil", std::string(example.client_nonce));

  const std::string first = client.first();
  CHECK(first == fmt::format("n,,n=user,r={}", example.client_nonce));
  REQUIRE(server.read_first(first));
  CHECK(server.username() == "user");
  const std::string challenge = server.challenge(entry, example.server_nonce);
  CHECK(challenge == fmt::format("r={}{},s={},i=4096", example.client_nonce, example.server_nonce,
                                 example.salt));
  const auto answer = client.answer(challenge);
  REQUIRE(answer);
  CHECK(answer->ends_with(fmt::format(",p={}", example.proof)));
  const auto last = server.read_final(*answer);
  REQUIRE(last);
  CHECK(*last == fmt::format("v={}", example.signature));
  CHECK(client.check_final(*last));
  CHECK_FALSE(client.check_final("v=AAAA"));
  CHECK_FALSE(client.check_final("e=other-error"));
}

TEST_CASE("a wrong password, another nonce and a changed message are refused") {
  ScramServer server(Hash::kSha256, false, "", "");
  REQUIRE(server.read_first("n,,n=user,r=abc"));
  const auto challenge = server.challenge(pencil(), "def");
  SECTION("wrong password") {
    ScramClient client(Hash::kSha256, "user", "pen", "abc");
    const auto answer = client.answer(challenge);
    REQUIRE(answer);
    CHECK_FALSE(server.read_final(*answer));
  }
  SECTION("another nonce") {
    CHECK_FALSE(server.read_final("c=biws,r=abcdeg,p=" + base64_encode(std::string(32, 'x'))));
  }
  SECTION("no proof") { CHECK_FALSE(server.read_final("c=biws,r=abcdef")); }
  SECTION("a proof of another length") { CHECK_FALSE(server.read_final("c=biws,r=abcdef,p=AAAA")); }
}

TEST_CASE("first messages that are none are refused") {
  const auto message =
      GENERATE("", "n,,", "n,,n=user", "n,,r=abc,n=user", "x,,n=user,r=abc", "n,,n=us=er,r=abc",
               "n,a=other,n=user,r=abc", "n,,m=ext,n=user,r=abc", "n,,n=user,r=", "n,,n=user,r=a b",
               "p=tls-exporter,,n=user,r=abc");
  ScramServer server(Hash::kSha256, false, "", "");
  CHECK_FALSE(server.read_first(message));
}

TEST_CASE("names may hold commas and equals signs") {
  ScramServer server(Hash::kSha256, false, "", "");
  ScramClient client(Hash::kSha256, "a=b,c", "pencil", "abc");
  REQUIRE(server.read_first(client.first()));
  CHECK(server.username() == "a=b,c");
}

TEST_CASE("channel binding is demanded by -PLUS, and a client that was lied to is refused") {
  const std::string binding = "what TLS has";
  SECTION("right") {
    ScramServer server(Hash::kSha256, true, "tls-exporter", binding);
    REQUIRE(server.read_first("p=tls-exporter,,n=user,r=abc"));
    (void)server.challenge(pencil(), "def");
    const std::string start =
        fmt::format("c={},r=abcdef", base64_encode("p=tls-exporter,," + binding));
    // The proof is wrong: that is what is complained of, not the binding.
    const auto answer =
        server.read_final(fmt::format("{},p={}", start, base64_encode(std::string(32, 'x'))));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().text == "authentication failure");
  }
  SECTION("of another connection") {
    ScramServer server(Hash::kSha256, true, "tls-exporter", binding);
    REQUIRE(server.read_first("p=tls-exporter,,n=user,r=abc"));
    (void)server.challenge(pencil(), "def");
    const std::string start =
        fmt::format("c={},r=abcdef", base64_encode("p=tls-exporter,,something else"));
    const auto answer =
        server.read_final(fmt::format("{},p={}", start, base64_encode(std::string(32, 'x'))));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().text == "channel binding does not match");
  }
  SECTION("missing") {
    ScramServer server(Hash::kSha256, true, "tls-exporter", binding);
    CHECK_FALSE(server.read_first("n,,n=user,r=abc"));
  }
  SECTION("the client saw no -PLUS") {
    ScramServer server(Hash::kSha256, false, "tls-exporter", binding);
    CHECK_FALSE(server.read_first("y,,n=user,r=abc"));
    CHECK(server.read_first("n,,n=user,r=abc"));
  }
}

TEST_CASE("a client works for no server that asks too much or another thing") {
  const auto challenge =
      GENERATE("", "r=abcdef,s=AAAA", "r=abc,s=AAAA,i=4096", "r=xyz,s=AAAA,i=4096",
               "r=abcdef,s=,i=4096", "r=abcdef,s=AAAA,i=0", "r=abcdef,s=AAAA,i=1000000000",
               "r=abcdef,s=AAAA,i=x", "m=1,r=abcdef,s=AAAA,i=4096");
  ScramClient client(Hash::kSha256, "user", "pencil", "abc");
  CHECK_FALSE(client.answer(challenge));
}

TEST_CASE("entries are read back in both forms") {
  const auto entry = pencil();
  const std::string text = print_scram_entry(entry);
  CHECK(parse_scram_entry(Hash::kSha256, text) == entry);
  const std::string rfc =
      fmt::format("4096:{}${}:{}", base64_encode(entry.salt), base64_encode(entry.stored_key),
                  base64_encode(entry.server_key));
  CHECK(parse_scram_entry(Hash::kSha256, rfc) == entry);
  CHECK(is_password_of(entry, "pencil"));
  CHECK_FALSE(is_password_of(entry, "Pencil"));
  for (const std::string bad : {"", "4096", "x,AAAA,AAAA,AAAA", "4096,AAAA,AAAA,AAAA"}) {
    CHECK_FALSE(parse_scram_entry(Hash::kSha256, bad));
  }
}

}  // namespace postern::sasl
