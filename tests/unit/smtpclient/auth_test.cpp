// Logging in at servers on loopback sockets, with passwords from a tables service of the test.

#include "common/smtpclient/auth.h"

#include <unistd.h>

#include "common/base/encode.h"
#include "common/ipc/server.h"
#include "common/sasl/scram.h"
#include "engine_world.h"

namespace postern::smtpclient {

namespace {

// Answers from a map, as `tables` would.
class FakeTables {
 public:
  explicit FakeTables(std::map<std::string, std::string> entries)
      : entries_(std::move(entries)),
        path_(fmt::format("/tmp/postern-auth-test-{}", ::getpid())),
        server_(listen(path_)),
        client(path_) {
    server_.dispatcher().answer<ipc::tables::Lookup>(
        [this](ipc::tables::Lookup& question, const ipc::ChannelPtr&) { return find(question); });
    server_.start();
  }
  ~FakeTables() { ::unlink(path_.c_str()); }

  std::vector<std::string> asked;
  bool is_broken = false;

 private:
  static sys::Fd listen(const std::string& path) {
    ::unlink(path.c_str());
    return sys::listen_unix(path, 0600, 10).value();
  }
  Result<ipc::tables::Found> find(const ipc::tables::Lookup& question) {
    if (is_broken) return fail_temporary("no table");
    for (const auto& key : question.keys) {
      asked.push_back(key.text);
      const auto entry = entries_.find(key.text);
      if (entry == entries_.end()) continue;
      ipc::tables::Found found;
      found.is_found = true;
      found.value = entry->second;
      return found;
    }
    return ipc::tables::Found{};
  }

  std::map<std::string, std::string> entries_;
  std::string path_;
  ipc::Server server_;

 public:
  ipc::TablesClient client;
};

void enable(World& world, const std::vector<std::string>& options = {"noanonymous"}) {
  auto& login = world.settings->login;
  login.is_enabled = true;
  login.password_maps = {"hash:/passwords"};
  login.options = sasl::parse_security_options(options);
}

// Offers the mechanisms, and has the replies to AUTH and what follows it one after the other.
FakeServer::Script offering(std::string mechanisms, std::vector<std::string> replies) {
  auto next = std::make_shared<std::size_t>(0);
  return [=](const std::string& line) -> std::string {
    if (line.starts_with("EHLO")) return "250-fake\r\n250 AUTH " + mechanisms;
    const bool is_login = line.starts_with("AUTH") || (*next > 0 && *next < replies.size());
    if (is_login && *next < replies.size()) return replies[(*next)++];
    return FakeServer::polite(line);
  };
}

}  // namespace

TEST_CASE("passwords are looked for by sender, server and next hop") {
  LoginSettings settings;
  settings.recipient_delimiter = "+";
  PasswordQuestion question{
      {"mx.isp.test", "192.0.2.1", 587}, "[mx.isp.test]:587", "al+x@home.test"};
  const auto texts = [&] {
    std::vector<std::string> out;
    for (const auto& key : password_keys(question, settings)) out.push_back(key.text);
    return out;
  };
  CHECK(texts() == std::vector<std::string>{"mx.isp.test", "[mx.isp.test]:587"});
  settings.is_sender_dependent = true;
  CHECK(texts() == std::vector<std::string>{"al+x@home.test", "al@home.test", "@home.test",
                                            "mx.isp.test", "[mx.isp.test]:587"});
  question.sender.clear();
  question.nexthop = "mx.isp.test";
  CHECK(texts() == std::vector<std::string>{"mx.isp.test"});
}

TEST_CASE("a password is what stands behind the first delimiter") {
  LoginSettings settings;
  settings.token_directory = "/run/tokens";
  const auto parse = [&](std::string_view value) { return parse_credentials(value, settings); };
  CHECK(parse("user:pa:ss").password == "pa:ss");
  CHECK(parse("user").username == "user");
  CHECK(parse("user").password.empty());
  CHECK(parse("user:/run/tokens/user").is_token);
  CHECK_FALSE(parse("user:/run/tokens").is_token);
  CHECK_FALSE(parse("user:/slash").is_token);
  settings.result_delimiter = "||";
  CHECK(parse("u:ser||pass").username == "u:ser");
  settings.token_directory.clear();
  CHECK_FALSE(parse("user||/slash").is_token);
}

TEST_CASE("the client logs in before the first MAIL") {
  World world;
  enable(world);
  FakeTables tables({{"127.0.0.1", "user:secret"}});
  world.get().use_tables(&tables.client);
  SECTION("PLAIN") {
    FakeServer server(offering("LOGIN PLAIN", {"235 2.7.0 in"}));
    world.settings->login.sends_dummy_sender = true;
    TestJob job(at(server), {"a@x"});
    world.deliver(job);
    CHECK(job.told[0].starts_with("sent"));
    CHECK(server.lines[1] == "AUTH PLAIN AHVzZXIAc2VjcmV0");
    CHECK(server.lines[2] == "MAIL FROM:<s@example.org> AUTH=<>");
  }
  SECTION("LOGIN") {
    FakeServer server(offering("LOGIN", {"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 in"}));
    TestJob job(at(server), {"a@x"});
    world.deliver(job);
    CHECK(job.told[0].starts_with("sent"));
    CHECK(std::vector<std::string>(server.lines.begin() + 1, server.lines.begin() + 4) ==
          std::vector<std::string>{"AUTH LOGIN", "dXNlcg==", "c2VjcmV0"});
  }
  CHECK(tables.asked.front() == "127.0.0.1");
}

TEST_CASE("SCRAM is spoken whole, and a server that cannot is not believed") {
  World world;
  enable(world);
  FakeTables tables({{"127.0.0.1", "user:secret"}});
  world.get().use_tables(&tables.client);
  const bool is_honest = GENERATE(true, false);
  sasl::ScramServer scram(sasl::Hash::kSha256, false, "", "");
  unsigned step = 0;
  FakeServer server([&](const std::string& line) -> std::string {
    if (line.starts_with("EHLO")) return "250-fake\r\n250 AUTH PLAIN SCRAM-SHA-256";
    if (line.starts_with("AUTH SCRAM-SHA-256 ")) {
      step = 1;
      REQUIRE(scram.read_first(base64_decode(line.substr(19)).value()));
      const auto entry = sasl::make_scram_entry(sasl::Hash::kSha256, "secret", "salt", 4096);
      return "334 " + base64_encode(scram.challenge(entry, "server"));
    }
    if (step == 1) {
      ++step;
      const auto last = scram.read_final(base64_decode(line).value());
      REQUIRE(last);
      return is_honest ? "334 " + base64_encode(*last) : "235 come in";
    }
    if (step == 2) {
      ++step;
      return "235 in";
    }
    return FakeServer::polite(line);
  });
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  INFO(job.told[0]);
  CHECK(job.told[0].starts_with(is_honest ? "sent" : "deferred 4.7.0 SASL authentication failed"));
}

TEST_CASE("servers that offer no login or that have no password are spoken to as by a stranger") {
  World world;
  enable(world);
  FakeTables tables({{"elsewhere", "user:secret"}});
  world.get().use_tables(&tables.client);
  const bool offers = GENERATE(true, false);
  FakeServer server(offers ? offering("PLAIN", {}) : FakeServer::Script(FakeServer::polite));
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].starts_with("sent"));
  CHECK(server.lines[1].starts_with("MAIL"));
  CHECK(tables.asked.size() == (offers ? 2U : 0U));
}

TEST_CASE("what goes wrong with a login is told, and the mail waits") {
  struct Case {
    std::string mechanisms;
    std::vector<std::string> replies;
    bool is_soft;
    std::string_view told;
  };
  const auto c = GENERATE(values<Case>({
      {"PLAIN",
       {"535 5.7.8 wrong"},
       true,
       "deferred 4.7.8 SASL authentication failed; server H said: 535 5.7.8 wrong"},
      {"PLAIN",
       {"535 5.7.8 wrong"},
       false,
       "bounced 5.7.8 SASL authentication failed; server H said: 535 5.7.8 wrong"},
      {"PLAIN",
       {"454 4.7.0 later"},
       false,
       "deferred 4.7.0 SASL authentication failed; server H said: 454 4.7.0 later"},
      {"GSSAPI",
       {},
       true,
       "deferred 4.7.0 SASL authentication failed: server H offered no compatible authentication "
       "mechanisms for this type of connection security"},
      {"LOGIN",
       {"334 !!!", "501 5.7.0 as you like"},
       true,
       "deferred 4.7.0 SASL authentication failed; cannot authenticate to server H: the challenge "
       "is not in base64"},
      {"LOGIN",
       {"334 YQ==", "334 YQ==", "334 YQ==", "501 5.7.0 as you like"},
       true,
       "deferred 4.7.0 SASL authentication failed; cannot authenticate to server H: the server "
       "asks for more than the mechanism has"},
      {"PLAIN",
       {""},
       true,
       "deferred 4.4.2 lost connection with H while performing the AUTH handshake"},
  }));
  World world;
  enable(world);
  world.settings->login.is_soft = c.is_soft;
  FakeTables tables({{"127.0.0.1", "user:secret"}});
  world.get().use_tables(&tables.client);
  FakeServer server(offering(c.mechanisms, c.replies));
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  std::string told = job.told[0];
  for (std::size_t i = 0; (i = told.find("127.0.0.1[127.0.0.1]")) != std::string::npos;) {
    told.replace(i, 20, "H");
  }
  CHECK(told == c.told);
}

TEST_CASE("a table that fails is no table without the password") {
  World world;
  enable(world);
  FakeTables tables({});
  tables.is_broken = true;
  world.get().use_tables(&tables.client);
  FakeServer server(offering("PLAIN", {}));
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].starts_with("deferred 4.3.0 local data error while talking to 127.0.0.1"));
}

TEST_CASE("the stock options send no password in the clear") {
  World world;
  enable(world, {"noplaintext", "noanonymous"});
  FakeTables tables({{"127.0.0.1", "user:secret"}});
  world.get().use_tables(&tables.client);
  FakeServer server(offering("PLAIN LOGIN", {}));
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].find("no compatible authentication mechanisms") != std::string::npos);
  for (const auto& line : server.lines) CHECK_FALSE(line.starts_with("AUTH"));
}

TEST_CASE("smtp_sasl_mechanism_filter says which of the mechanisms are used") {
  const config::Values configuration(std::make_shared<config::Snapshot>());
  struct Case {
    std::vector<std::string> words;
    std::string_view line;
  };
  const auto c = GENERATE(Catch::Generators::values<Case>({
      {{"plain", "login"}, "AUTH PLAIN"},
      {{"LOGIN"}, "AUTH LOGIN"},
      {{"!cram-md5", "!plain", "static:all"}, "AUTH LOGIN"},
      {{"hash:/mechanisms"}, "AUTH LOGIN"},
      {{"gssapi"}, "QUIT"},
  }));
  World world;
  enable(world);
  world.settings->login.has_filter = true;
  world.settings->login.filter = config::SiteList(c.words, false, configuration);
  FakeTables tables({{"127.0.0.1", "user:secret"}, {"login", "yes"}});
  world.get().use_tables(&tables.client);
  FakeServer server(offering("PLAIN LOGIN CRAM-MD5", {"535 5.7.8 no"}));
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  world.settle();
  REQUIRE(server.lines.size() > 1);
  CHECK(server.lines[1].substr(0, c.line.size()) == c.line);
}

TEST_CASE("a password that was refused is not tried again for a while") {
  World world;
  enable(world);
  world.settings->login.has_cache = true;
  world.settings->login.cache_time = 60s;
  FakeTables tables({{"127.0.0.1", "user:secret"}});
  world.get().use_tables(&tables.client);
  FakeServer server([](const std::string& line) -> std::string {
    if (line.starts_with("EHLO")) return "250-fake\r\n250 AUTH PLAIN";
    if (line.starts_with("AUTH")) return "535 5.7.8 wrong";
    return FakeServer::polite(line);
  });
  for (const std::string_view told : {"SASL authentication", "SASL [CACHED] authentication"}) {
    TestJob job(at(server), {"a@x"});
    world.deliver(job);
    INFO(job.told[0]);
    CHECK(job.told[0].find(told) != std::string::npos);
  }
  CHECK(std::ranges::count_if(
            server.lines, [](const std::string& line) { return line.starts_with("AUTH"); }) == 1);
}

TEST_CASE("a connection of one sender is not used for another") {
  World world;
  enable(world);
  world.settings->login.is_sender_dependent = true;
  FakeTables tables({{"127.0.0.1", "user:secret"}});
  world.get().use_tables(&tables.client);
  FakeServer server([](const std::string& line) -> std::string {
    if (line.starts_with("EHLO")) return "250-fake\r\n250 AUTH PLAIN";
    if (line.starts_with("AUTH")) return "235 in";
    return FakeServer::polite(line);
  });
  for (int i = 0; i < 3; ++i) {
    TestJob job(at(server), {"a@x"});
    world.deliver(job);
    CHECK(job.told[0].starts_with("sent"));
  }
  CHECK(server.connections == 3);
  CHECK(tables.asked.front() == "s@example.org");
}

}  // namespace postern::smtpclient
