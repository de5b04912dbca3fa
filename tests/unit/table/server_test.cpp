#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "common/base/text.h"
#include "common/loop/loop.h"
#include "common/sys/socket.h"
#include "common/table/server_client.h"
#include "common/table/server_table.h"

namespace postern::table {

namespace {

using State = ServerReply::State;
using namespace std::chrono_literals;

const ServerAddress kTcp{ServerAddress::Protocol::kTcp, "inet:localhost:1", ""};
const ServerAddress kSocketmap{ServerAddress::Protocol::kSocketmap, "unix:s", "map"};

std::string shown(const Found& found) {
  if (!found) return "error: " + found.error().text;
  return found->value_or("(none)");
}

std::string reply_of(const ServerAddress& server, std::string_view input) {
  const auto reply = parse_server_reply(server, input, {});
  if (reply.state == State::kMore) return "(more)";
  return (reply.state == State::kBad ? "bad " : "") + shown(reply.found);
}

}  // namespace

TEST_CASE("the name of a table says which server, and which map there") {
  struct Example {
    std::string_view name, endpoint, map;  // no endpoint: an error
  };
  const auto [name, endpoint, map] = GENERATE(
      Example{"tcp:127.0.0.1:10001", "inet:127.0.0.1:10001", ""},
      Example{"tcp:[::1]:10001", "inet:[::1]:10001", ""}, Example{"tcp:localhost", "", ""},
      Example{"tcp::1", "", ""}, Example{"socketmap:inet:h:1:m", "inet:h:1", "m"},
      Example{"socketmap:unix:/run/s:m", "unix:/run/s", "m"}, Example{"socketmap:unix::m", "", ""},
      Example{"socketmap:inet:h:m", "", ""}, Example{"socketmap:inet:h:1:", "", ""},
      Example{"socketmap:unix:s:a b", "", ""}, Example{"socketmap:h:1:m", "", ""});
  const auto server = parse_server_table(name);
  INFO(name);
  CHECK(server.has_value() == !endpoint.empty());
  if (server) CHECK((server->endpoint == endpoint && server->map == map));
}

TEST_CASE("requests are encoded, and no longer than the protocol allows") {
  CHECK(encode_request(kTcp, "a b%c\n\xc3", {}).value() == "get a%20b%25c%0a%c3\n");
  CHECK(encode_request(kTcp, std::string(kMaxTcpLine - 5, 'x'), {}).has_value());
  CHECK_FALSE(encode_request(kTcp, std::string(kMaxTcpLine - 4, 'x'), {}).has_value());
  CHECK(encode_request(kSocketmap, "a b", {}).value() == "7:map a b,");
  CHECK(encode_request(kSocketmap, "1234567", {11, 10}).has_value());
  CHECK_FALSE(encode_request(kSocketmap, "12345678", {11, 10}).has_value());
}

TEST_CASE("a reply is a value, no value, or an error; what is none of these is of no use") {
  CHECK(reply_of(kTcp, "200 a%20b\n") == "a b");
  CHECK(reply_of(kTcp, "200 plain text\r\n") == "plain text");
  CHECK(reply_of(kTcp, "500 no such key\n") == "(none)");
  CHECK(reply_of(kTcp, "400 come%20back\n") == "error: server says: come back");
  CHECK(reply_of(kTcp, "200 a") == "(more)");
  CHECK(reply_of(kTcp, "200\n") == "bad error: unexpected reply");
  CHECK(reply_of(kTcp, "250 Ok\n") == "bad error: unexpected reply");
  CHECK(reply_of(kTcp, "200 a%2\n") == "bad error: reply is not encoded as it should be");
  CHECK(reply_of(kTcp, "200 " + std::string(kMaxTcpLine - 5, 'x') + "\n").size() ==
        kMaxTcpLine - 5);
  CHECK(reply_of(kTcp, "200 " + std::string(kMaxTcpLine - 4, 'x')) ==
        "bad error: reply is too long");

  CHECK(reply_of(kSocketmap, "5:OK ab,") == "ab");
  CHECK(reply_of(kSocketmap, "3:OK ,").empty());
  CHECK(reply_of(kSocketmap, "9:NOTFOUND ,") == "(none)");
  CHECK(reply_of(kSocketmap, "8:TEMP why,") == "error: server says: TEMP why");
  CHECK(reply_of(kSocketmap, "8:PERM why,") == "error: server says: PERM why");
  for (const std::string_view part : {"", "5", "5:", "5:OK a", "5:OK ab"}) {
    CHECK(reply_of(kSocketmap, part) == "(more)");
  }
  for (const std::string_view garbage : {"x", "5x", "-1:", "5:OK ab;", "6:WHAT a,",
                                         "100001:", "99999999999:", "18446744073709551615:"}) {
    INFO(garbage);
    CHECK(reply_of(kSocketmap, garbage).starts_with("bad "));
  }
}

namespace {

// A server that answers with a script: for each connection, replies to one question after another;
// without any more it closes.
struct Script {
  std::vector<std::vector<std::string>> connections;
  std::size_t made = 0;

  loop::Task<Result<sys::Fd>> connect() {
    if (made == connections.size()) co_return fail_temporary("refused");
    CO_TRY(auto pair, sys::socket_pair());
    loop::spawn(serve(std::move(pair.second), connections[made++]));
    co_return std::move(pair.first);
  }
  static loop::Task<void> serve(sys::Fd fd, std::vector<std::string> replies) {
    loop::Stream stream(std::move(fd));
    for (const auto& reply : replies) {
      if (co_await stream.fill(loop::Clock::now() + 5s) != loop::Io::kOk) co_return;
      stream.consume(stream.input().size());
      if (co_await stream.write(reply, loop::Clock::now() + 5s) != loop::Io::kOk) co_return;
    }
  }
};

std::vector<std::string> ask(Script& script, unsigned count) {
  loop::Loop loop;
  std::vector<std::string> said;
  {
    ServerClient client([&](std::string, loop::Deadline) { return script.connect(); });
    const auto work = [](ServerClient& whom, unsigned times, std::vector<std::string>& out,
                         loop::Loop& turns) -> loop::Task<void> {
      for (unsigned i = 0; i < times; ++i) {
        const auto found = co_await whom.find("tcp:h:1", "key");
        out.push_back(shown(found));
        co_await loop::sleep_for(10ms);
      }
      turns.stop();
    };
    loop::spawn(work(client, count, said, loop));
    loop.run();
  }
  return said;
}

}  // namespace

TEST_CASE(
    "a connection is kept for the next question, and replaced when the server has closed it") {
  Script script{{{"200 a\n", "500 -\n"}, {"200 b\n"}, {"200 c\n"}}};
  CHECK(ask(script, 4) == std::vector<std::string>{"a", "(none)", "b", "c"});
  CHECK(script.made == 3);
}

TEST_CASE("a server that closes without an answer, talks garbage or is away is an error") {
  Script script{{{""}, {"nonsense\n", "200 late\n"}}};
  const auto said = ask(script, 3);
  CHECK(said[0] == "error: tcp:h:1: the server has closed the connection");
  CHECK(said[1] == "error: tcp:h:1: unexpected reply");
  CHECK(said[2] == "error: tcp:h:1: refused");
}

TEST_CASE("a tool hears at once of a server that is not there") {
  register_server_types();
  for (const std::string name : {"socketmap:unix:/nonexistent/s:map", "tcp:127.0.0.1:1"}) {
    const auto table = open_table(name);
    REQUIRE(table.has_value());
    for (int i = 0; i < 2; ++i) {
      const auto found = (*table)->find("key");
      REQUIRE_FALSE(found.has_value());
      CHECK(found.error().kind == Error::Kind::kTemporary);
    }
  }
}

}  // namespace postern::table
