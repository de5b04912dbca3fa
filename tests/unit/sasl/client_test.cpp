#include "common/sasl/client.h"

#include <catch2/catch.hpp>

#include "common/base/encode.h"
#include "common/sasl/scram.h"

namespace postern::sasl {

namespace {

using namespace std::string_literals;

std::unique_ptr<ClientLogin> choose(const std::vector<std::string>& offered,
                                    const std::vector<std::string>& options = {},
                                    bool is_token = false) {
  Credentials credentials{"user@x", "pass", is_token, false, "mx.x", 587};
  return choose_client_login(offered, parse_security_options(options), std::move(credentials),
                             "nonce");
}

}  // namespace

TEST_CASE("the best mechanism that is allowed is chosen") {
  struct Case {
    std::vector<std::string> offered, options;
    std::string_view chosen;
  };
  const auto c = GENERATE(values<Case>({
      {{"LOGIN", "PLAIN"}, {}, "PLAIN"},
      {{"LOGIN"}, {"noanonymous"}, "LOGIN"},
      {{"PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"}, {}, "SCRAM-SHA-256"},
      {{"plain", "scram-sha-1"}, {}, "SCRAM-SHA-1"},
      {{"PLAIN", "LOGIN", "CRAM-MD5"}, {"noplaintext"}, "CRAM-MD5"},
      {{"PLAIN", "LOGIN"}, {"noplaintext"}, ""},
      {{"PLAIN", "CRAM-MD5", "SCRAM-SHA-1"}, {"mutual_auth"}, "SCRAM-SHA-1"},
      {{"XOAUTH2", "GSSAPI", "NTLM", "EXTERNAL"}, {}, ""},
      {{}, {}, ""},
  }));
  const auto login = choose(c.offered, c.options);
  CHECK((login == nullptr ? "" : login->mechanism()) == c.chosen);
}

TEST_CASE("PLAIN says all at once, and no more") {
  const auto login = choose({"PLAIN"});
  CHECK(login->first() == "\0user@x\0pass"s);
  CHECK_FALSE(login->answer(""));
  Credentials credentials{"u", "p", false, true, "", 0};
  CHECK(choose_client_login({"PLAIN"}, {}, credentials, "")->first() == "u\0u\0p"s);
}

TEST_CASE("LOGIN answers two questions, whatever their words") {
  const auto login = choose({"LOGIN"});
  CHECK_FALSE(login->first());
  CHECK(login->answer("Username:").value() == "user@x");
  CHECK(login->answer("Kennwort").value() == "pass");
  CHECK_FALSE(login->answer("and now?"));
}

TEST_CASE("CRAM-MD5 says what the example of RFC 2195 says") {
  Credentials credentials{"tim", "tanstaaftanstaaf", false, false, "", 0};
  const auto login = choose_client_login({"CRAM-MD5"}, {}, credentials, "");
  CHECK_FALSE(login->first());
  CHECK_FALSE(login->answer(""));
  CHECK(login->answer("<1896.697170952@postoffice.reston.mci.net>").value() ==
        "tim b913a602c7eda7a495b4e6e7334d3890");
  CHECK_FALSE(login->answer("<again>"));
}

TEST_CASE("a SCRAM server that does not show that it knows the password is not believed") {
  const auto entry = make_scram_entry(Hash::kSha256, "pass", "salt", 4096);
  ScramServer server(Hash::kSha256, false, "", "");
  const auto login = choose({"SCRAM-SHA-256"});
  REQUIRE(server.read_first(*login->first()));
  CHECK(login->is_slow());
  const auto answer = login->answer(server.challenge(entry, "server"));
  REQUIRE(answer);
  CHECK_FALSE(login->is_slow());
  CHECK_FALSE(login->finish());
  SECTION("it does") {
    const auto last = server.read_final(*answer);
    REQUIRE(last);
    CHECK(login->answer(*last).value().empty());
    CHECK(login->finish());
    CHECK_FALSE(login->answer("more"));
  }
  SECTION("it does not") {
    CHECK_FALSE(login->answer("v=" + base64_encode(std::string(32, 'x'))));
    CHECK_FALSE(login->finish());
  }
}

TEST_CASE("tokens go with their own mechanisms, and what is wrong with them is heard out") {
  const auto google = choose({"PLAIN", "XOAUTH2"}, {}, true);
  REQUIRE(google != nullptr);
  CHECK(google->first() == "user=user@x\001auth=Bearer pass\001\001");
  CHECK(google->answer("{\"status\":\"401\"}").value().empty());
  CHECK_FALSE(google->answer("{\"status\":\"401\"}"));
  const auto standard = choose({"XOAUTH2", "OAUTHBEARER"}, {}, true);
  REQUIRE(standard != nullptr);
  CHECK(standard->mechanism() == "OAUTHBEARER");
  CHECK(standard->first() == "n,a=user@x,\001host=mx.x\001port=587\001auth=Bearer pass\001\001");
  CHECK(standard->answer("{\"status\":\"invalid_token\"}").value() == "\001");
  CHECK(choose({"PLAIN", "LOGIN"}, {}, true) == nullptr);
}

TEST_CASE("no mechanism reads a challenge without end") {
  const auto mechanism = GENERATE("LOGIN", "CRAM-MD5", "SCRAM-SHA-1");
  CHECK_FALSE(choose({mechanism})->answer(std::string(9000, 'x')));
}

}  // namespace postern::sasl
