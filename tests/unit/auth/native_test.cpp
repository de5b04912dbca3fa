#include "auth/native.h"

#include <catch2/catch.hpp>

namespace postern::auth {

namespace {

std::string plain(std::string_view authzid, std::string_view authcid, std::string_view password) {
  std::string out(authzid);
  out += '\0';
  out += authcid;
  out += '\0';
  return out.append(password);
}

}  // namespace

TEST_CASE("PLAIN has a user and a password in one message") {
  const auto login = make_native_login("PLAIN", {});
  const auto first = login->read(std::nullopt);
  REQUIRE(std::holds_alternative<Challenge>(first));
  CHECK(std::get<Challenge>(first).text.empty());
  const auto second = login->read(plain("", "alice", "secret"));
  REQUIRE(std::holds_alternative<JudgePassword>(second));
  CHECK(std::get<JudgePassword>(second).username == "alice");
  CHECK(std::get<JudgePassword>(second).password == "secret");
}

TEST_CASE("PLAIN messages that name nobody or somebody else are refused") {
  const auto message =
      GENERATE(plain("", "", "secret"), plain("bob", "alice", "secret"), plain("", "alice", ""),
               std::string("alice"), std::string(), plain("", "ali\nce", "secret"),
               plain("", "al\xff", "secret"), plain("", std::string(400, 'a'), "secret"),
               plain("", "alice", std::string(2000, 'x')),
               plain("", "alice", "sec") + std::string("\0ret", 4));
  CHECK(std::holds_alternative<Refused>(read_plain(message)));
  CHECK(std::holds_alternative<JudgePassword>(read_plain(plain("alice", "alice", "secret"))));
}

TEST_CASE("LOGIN asks for the user, then for the password") {
  const auto login = make_native_login("LOGIN", {});
  CHECK(std::get<Challenge>(login->read(std::nullopt)).text == "Username:");
  CHECK(std::get<Challenge>(login->read("alice")).text == "Password:");
  CHECK(std::get<JudgePassword>(login->read("secret")).password == "secret");

  const auto quick = make_native_login("LOGIN", {});
  CHECK(std::get<Challenge>(quick->read("alice")).text == "Password:");
  CHECK(std::get<JudgePassword>(quick->read("secret")).username == "alice");
}

TEST_CASE("SCRAM logs in with the entry of the user, after the server's last word") {
  const auto login = make_native_login("SCRAM-SHA-256", {});
  sasl::ScramClient client(sasl::Hash::kSha256, "alice", "secret", "nonce");
  CHECK(std::get<Challenge>(login->read(std::nullopt)).text.empty());
  CHECK(std::get<WantEntry>(login->read(client.first())).username == "alice");
  const auto entry = sasl::make_scram_entry(sasl::Hash::kSha256, "secret", "salt", 4096);
  const auto challenge = std::get<Challenge>(login->take_entry(entry, "more"));
  const auto answer = client.answer(challenge.text);
  REQUIRE(answer);
  const auto last = std::get<Challenge>(login->read(*answer));
  CHECK(client.check_final(last.text));
  CHECK(std::get<Verified>(login->read("")).username == "alice");
}

TEST_CASE("nobody logs in with an entry that is made up, which looks the same each time") {
  const auto entry = made_up_entry("key", "mallory");
  CHECK(entry.salt == made_up_entry("key", "mallory").salt);
  CHECK(entry.salt != made_up_entry("key", "alice").salt);
  CHECK(entry.salt != made_up_entry("other key", "mallory").salt);
  const auto login = make_native_login("SCRAM-SHA-256", {});
  sasl::ScramClient client(sasl::Hash::kSha256, "mallory", "secret", "nonce");
  (void)login->read(client.first());
  const auto challenge = std::get<Challenge>(login->take_entry(entry, "more"));
  const auto answer = client.answer(challenge.text);
  REQUIRE(answer);
  const auto refused = login->read(*answer);
  REQUIRE(std::holds_alternative<Refused>(refused));
  CHECK(std::get<Refused>(refused).username == "mallory");
}

TEST_CASE("mechanisms that are not there are not made") {
  CHECK(make_native_login("CRAM-MD5", {}) == nullptr);
  CHECK(make_native_login("plain", {}) == nullptr);
}

}  // namespace postern::auth
