#include <catch2/catch.hpp>

#include "common/smtpwire/ehlo.h"
#include "common/smtpwire/reply_reader.h"

namespace postern::smtpwire {

TEST_CASE("a reply is read whole, and what follows stays") {
  for (const std::size_t step : {1U, 3U, 100U}) {
    ReplyReader reader;
    const std::string_view wire = "250-first\r\n250-\r\n250 2.1.5 last\r\n354 go\r\n";
    std::size_t at = 0;
    bool complete = false;
    while (!complete) {
      std::string_view piece = wire.substr(at, step);
      const std::size_t before = piece.size();
      complete = reader.feed(piece).value();
      at += before - piece.size();
    }
    const ServerReply reply = reader.take();
    CHECK(reply.code == 250);
    CHECK(reply.lines == std::vector<std::string>{"first", "", "2.1.5 last"});
    CHECK(wire.substr(at) == "354 go\r\n");
    CHECK_FALSE(reader.is_partial());
  }
}

TEST_CASE("replies of odd shape that servers give are read") {
  for (const std::string_view wire : {"250\r\n", "250\n", "250 \r\n", "450-a\r\n250 b\r\n"}) {
    ReplyReader reader;
    std::string_view in = wire;
    CHECK(reader.feed(in).value());
    CHECK(reader.take().code == 250);
  }
}

TEST_CASE("what is no SMTP reply is a temporary error") {
  for (const std::string_view wire : {"HTTP/1.1 400\r\n", "25\r\n", "\r\n", "250x ok\r\n",
                                      "999 x\r\n", "-50 x\r\n", "\x16\x03\x01\n"}) {
    INFO(wire);
    ReplyReader reader;
    std::string_view in = wire;
    const auto done = reader.feed(in);
    REQUIRE_FALSE(done.has_value());
    CHECK(done.error().kind == Error::Kind::kTemporary);
  }
}

TEST_CASE("endless replies end at the limit, long lines and many lines are cut") {
  ReplyReader reader({.line_length = 10, .lines = 2, .total_size = 1000});
  std::string_view in = "250-0123456789\r\n250-b\r\n250 c\r\n";
  REQUIRE(reader.feed(in).value());
  CHECK(reader.take().lines == std::vector<std::string>{"012345", "b"});

  const std::string dripped(100, 'x');
  Result<bool> done = false;
  for (int i = 0; i < 11 && done; ++i) {
    std::string_view piece = dripped;
    done = reader.feed(piece);
  }
  REQUIRE_FALSE(done.has_value());
  CHECK(done.error().text == "reply too long");
}

TEST_CASE("a status of another class than the code does not count") {
  CHECK(ServerReply{550, {"5.1.1 no"}}.status() == mail::Status{5, 1, 1});
  CHECK(ServerReply{450, {"5.1.1 no"}}.status() == mail::Status{4, 0, 0});
}

TEST_CASE("of a reply of many lines the last one has the status") {
  CHECK(ServerReply{550, {"5.1.1 no", "5.2.2 full"}}.status() == mail::Status{5, 2, 2});
  CHECK(ServerReply{550, {"5.1.1 no", "at all"}}.status() == mail::Status{5, 0, 0});
  CHECK(ServerReply{450, {}}.to_line() == "450");
}

TEST_CASE("EHLO keywords are understood") {
  const Features f =
      parse_ehlo({"mx.ext.test Hello", "PIPELINING", "size 300", "8bitmime",
                  "AUTH PLAIN login PLAIN", "AUTH=LOGIN CRAM-MD5", "STARTTLS", "DSN",
                  "LIMITS MAILMAX=5 RCPTMAX=x RCPTDOMAINMAX=1", "UNKNOWN x", "CHUNKING"},
                 {"DSN"});
  CHECK(f.greeting_name == "mx.ext.test");
  CHECK(f.pipelining);
  CHECK(f.size_limit == 300U);
  CHECK(f.eight_bit_mime);
  CHECK(f.starttls);
  CHECK(f.chunking);
  CHECK_FALSE(f.dsn);
  CHECK_FALSE(f.smtputf8);
  CHECK(f.auth_mechanisms == std::vector<std::string>{"PLAIN", "LOGIN", "CRAM-MD5"});
  CHECK(f.limits == std::map<std::string, std::uint64_t>{{"MAILMAX", 5}, {"RCPTDOMAINMAX", 1}});
  CHECK_FALSE(parse_ehlo({"x", "SIZE 0"}).size_limit.has_value());
  CHECK(parse_ehlo({"x", "SIZE"}).size);
  CHECK(parse_ehlo({}).greeting_name.empty());
}

}  // namespace postern::smtpwire
