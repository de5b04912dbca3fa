#include "common/sasl/dovecot.h"

#include <catch2/catch.hpp>

namespace postern::sasl {

using Kind = DovecotLine::Kind;

TEST_CASE("the lines of a Dovecot authentication server are understood") {
  const auto version = parse_dovecot_line("VERSION\t1\t2");
  CHECK(version.kind == Kind::kVersion);
  CHECK(version.version_major == 1);
  CHECK(version.version_minor == 2);

  const auto mechanism = parse_dovecot_line("MECH\tDIGEST-MD5\tdictionary\tactive\tmutual-auth");
  CHECK(mechanism.kind == Kind::kMechanism);
  CHECK(mechanism.mechanism == Mechanism{"DIGEST-MD5", kDictionary | kActive | kMutualAuth});
  CHECK_FALSE(mechanism.is_private);
  CHECK(parse_dovecot_line("MECH\tDOVECOT-TOKEN\tprivate").is_private);

  CHECK(parse_dovecot_line("DONE").kind == Kind::kDone);
  CHECK(parse_dovecot_line("SPID\t77").kind == Kind::kOther);

  const auto challenge = parse_dovecot_line("CONT\t7\tVXNlcm5hbWU6");
  CHECK(challenge.kind == Kind::kContinue);
  CHECK(challenge.id == 7);
  CHECK(challenge.challenge == "Username:");
  CHECK(parse_dovecot_line("CONT\t7\t").challenge.empty());

  const auto done = parse_dovecot_line("OK\t4294967295\tuser=al\001tice\001\061\ttoken=x");
  CHECK(done.kind == Kind::kOk);
  CHECK(done.id == 4294967295U);
  CHECK(done.user == "al\tice\001");

  const auto failed = parse_dovecot_line("FAIL\t3\tuser=bob\ttemp\treason=no data base");
  CHECK(failed.kind == Kind::kFail);
  CHECK(failed.user == "bob");
  CHECK(failed.is_temporary);
  CHECK(failed.reason == "no data base");
  CHECK_FALSE(parse_dovecot_line("FAIL\t3").user);
}

TEST_CASE("garbage in place of an answer is told from an answer") {
  const auto line = GENERATE("VERSION\tx\t1", "VERSION\t1", "MECH", "OK", "OK\t", "OK\t-1",
                             "OK\t4294967296", "CONT\t1\t!!!", "FAIL\tone");
  CHECK(parse_dovecot_line(line).kind == Kind::kBad);
}

TEST_CASE("a mechanism that no client could name is passed over") {
  CHECK(parse_dovecot_line("MECH\tPLAIN LOGIN\tplaintext").kind == Kind::kOther);
  CHECK(parse_dovecot_line("MECH\t\tplaintext").kind == Kind::kOther);
}

TEST_CASE("requests are one line each, whatever is in them") {
  DovecotRequest request;
  request.id = 5;
  request.mechanism = "PLAIN";
  request.service = "sm\ttp\n";
  request.local_address = "192.0.2.1";
  request.remote_address = "2001:db8::1";
  request.is_secured = true;
  request.initial_response = std::string("\0a\0b", 4);
  CHECK(dovecot_auth(request) ==
        "AUTH\t5\tPLAIN\tservice=sm\001ttp\001n\tnologin\tlip=192.0.2.1\trip=2001:db8::1\tsecured\t"
        "resp=AGEAYg==\n");
  request.initial_response = "";
  CHECK(dovecot_auth(request).ends_with("\tresp=\n"));
  request.initial_response.reset();
  request.is_secured = false;
  CHECK(dovecot_auth(request).ends_with("\trip=2001:db8::1\n"));
  CHECK(dovecot_continue(6, "a\nb") == "CONT\t6\tYQpi\n");
  CHECK(dovecot_cancel(6) == "CANCEL\t6\n");
  CHECK(dovecot_hello(42) == "VERSION\t1\t1\nCPID\t42\n");
}

}  // namespace postern::sasl
