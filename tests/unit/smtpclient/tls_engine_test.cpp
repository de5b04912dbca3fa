// TLS of the engine: levels, what certificates are worth, DANE, and what is sent in the clear.

#include "common/base/encode.h"
#include "engine_world.h"
#include "tests/unit/tls/make_certificate.h"

namespace postern::smtpclient {

namespace {

using tls::MadeCertificate;

const MadeCertificate& authority() {
  static const auto made = tls::make_certificate({.common_name = "CA", .is_authority = true});
  return made;
}
const MadeCertificate& good() {
  static const auto made =
      tls::make_certificate({.common_name = "mx.x", .dns_names = {"mx.x"}, .issuer = &authority()});
  return made;
}
const MadeCertificate& self_signed() {
  static const auto made = tls::make_certificate({.common_name = "mx.x", .dns_names = {"mx.x"}});
  return made;
}

tls::ContextPtr server_context(const MadeCertificate& made, bool ask = false) {
  tls::ServerConfig config;
  config.algorithms.ciphers = "DEFAULT";
  config.identities = {tls::parse_identity(made.certificate, made.key).value()};
  config.ask_certificate = ask;
  config.ticket_keys = tls::TicketKeys::make("aes-256-cbc").value();
  config.ticket_keys->set({tls::TicketKey::random().value()});
  return tls::Context::server(std::move(config)).value();
}

std::string offers_tls(const std::string& line) {
  if (line.starts_with("EHLO")) return "250-fake\r\n250-PIPELINING\r\n250 STARTTLS";
  if (line == "STARTTLS") return "220 go on";
  return FakeServer::polite(line);
}

// Settings of a client whose main.cf says `level`.
void set_level(World& world, std::string level, TlsMaterials materials = {}) {
  config::TlsParams params;
  params.smtp_tls_security_level = std::move(level);
  params.smtp_tls_protocols = params.smtp_tls_mandatory_protocols = ">=TLSv1.2";
  params.smtp_tls_ciphers = params.smtp_tls_mandatory_ciphers = "medium";
  params.tls_high_cipherlist = params.tls_medium_cipherlist = "aNULL:-aNULL:HIGH:@STRENGTH";
  params.smtp_tls_verify_cert_match = {"hostname"};
  params.smtp_tls_secure_cert_match = {"nexthop", "dot-nexthop"};
  params.smtp_tls_fingerprint_digest = "sha256";
  params.smtp_tls_dane_insecure_mx_policy = "dane";
  params.smtp_tls_scert_verifydepth = 9;
  params.smtp_starttls_timeout = 20s;
  params.smtp_tls_session_cache_timeout = 3600s;
  materials.authorities += authority().certificate;
  world.settings->tls = TlsSettings::load(std::move(params), materials);
  world.settings->has_dnssec = true;
}

// A server for the domain x, called mx.x.
void publish(World& world, const FakeServer& server, bool is_secure) {
  world.hosts = {};
  world.hosts.has_mx = true;
  world.hosts.is_authenticated = is_secure;
  world.hosts.hosts.push_back(host("mx.x", {"127.0.0.1"}));
  world.hosts.hosts.back().is_authenticated = is_secure;
  world.settings->params.smtp_tcp_port = std::to_string(server.port);
}

void publish_tlsa(World& world, const FakeServer& server, const MadeCertificate& made,
                  std::uint8_t usage = 3, bool is_secure = true) {
  const auto chain = tls::parse_certificates(made.certificate).value();
  const auto tlsa = tls::make_tlsa(*chain.front(), usage, 1, 1).value();
  ipc::resolver::Answer answer;
  answer.is_authenticated = is_secure;
  answer.records.emplace_back().data = fmt::format("{} 1 1 {}", usage, hex_encode(tlsa.data));
  world.records[fmt::format("_{}._tcp.mx.x TLSA", server.port)] = answer;
}

}  // namespace

TEST_CASE("STARTTLS is used where it is offered, and EHLO is said again") {
  World world;
  set_level(world, "may");
  FakeServer server(offers_tls);
  server.tls = server_context(self_signed());
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  world.settle();
  CHECK(job.told[0] == "sent 2.0.0 250 2.0.0 stored");
  CHECK(server.lines == std::vector<std::string>{"EHLO me.example.org", "STARTTLS", "(TLS)",
                                                 "EHLO me.example.org", "MAIL FROM:<s@example.org>",
                                                 "RCPT TO:<a@x>", "DATA", "QUIT"});
}

TEST_CASE("answers that somebody put behind that to STARTTLS are forgotten") {
  World world;
  set_level(world, GENERATE("may", "secure"));
  FakeServer server(offers_tls);
  server.tls = server_context(good());
  publish(world, server, false);
  // With them nothing could be sent, and a refusal would be in the place of what TLS protects.
  server.said_behind_starttls =
      "250-fake\r\n250 SIZE 1\r\n550 5.1.1 no\r\n550 5.1.1 no\r\n550 5.1.1 no\r\n";
  TestJob job("x", {"a@x"});
  world.deliver(job);
  world.settle();
  CHECK(job.told[0] == "sent 2.0.0 250 2.0.0 stored");
  CHECK(server.messages.size() == 1);
  CHECK(server.lines[3] == "EHLO me.example.org");
}

TEST_CASE("where TLS is not to be had the level decides") {
  struct Case {
    std::string_view level, starttls, expected;
  };
  const auto c = GENERATE(values<Case>({
      {"none", "220 go on", "sent 2.0.0"},
      {"may", "", "sent 2.0.0"},
      {"may", "454 4.7.0 not now", "sent 2.0.0"},
      {"encrypt", "",
       "deferred 4.7.4 TLS is required, but was not offered by host mx.x[127.0.0.1]"},
      {"encrypt", "454 4.7.0 not now",
       "deferred 4.7.0 TLS is required, but host mx.x[127.0.0.1] refused to start TLS: 454 4.7.0 "
       "not now"},
      {"verify", "", "deferred 4.7.4 TLS is required"},
  }));
  World world;
  set_level(world, std::string(c.level));
  FakeServer server([&](const std::string& line) -> std::string {
    if (line == "STARTTLS") return std::string(c.starttls);
    return c.starttls.empty() ? FakeServer::polite(line) : offers_tls(line);
  });
  publish(world, server, false);
  TestJob job("x", {"a@x"});
  world.deliver(job);
  INFO(c.level << " " << c.starttls << ": " << job.told[0]);
  CHECK(job.told[0].starts_with(c.expected));
}

TEST_CASE("a certificate is worth what the level asks of it") {
  struct Case {
    std::string_view level;
    bool is_known_issuer, is_sent;
  };
  const auto c = GENERATE(values<Case>({
      {"may", false, true},
      {"encrypt", false, true},
      {"verify", false, false},
      {"verify", true, true},
      {"secure", false, false},
      {"secure", true, true},  // mx.x is below the next hop x
  }));
  World world;
  set_level(world, std::string(c.level));
  FakeServer server(offers_tls);
  server.tls = server_context(c.is_known_issuer ? good() : self_signed());
  publish(world, server, false);
  TestJob job("x", {"a@x"});
  world.deliver(job);
  INFO(c.level << ": " << job.told[0]);
  CHECK(job.told[0].starts_with(c.is_sent ? "sent"
                                          : "deferred 4.7.5 Server certificate not verified"));
  CHECK(server.messages.size() == (c.is_sent ? 1 : 0));
}

TEST_CASE("a broken handshake goes plain only at level may, and only with old mail") {
  struct Case {
    std::string_view level;
    std::chrono::seconds age;
    bool is_sent;
  };
  const auto c = GENERATE(values<Case>({
      {"may", 0s, false},
      {"may", 3600s, true},
      {"encrypt", 3600s, false},
  }));
  World world;
  set_level(world, std::string(c.level));
  FakeServer server(offers_tls);
  server.garbage_after_starttls = true;
  world.settings->minimal_backoff_time = 300s;
  publish(world, server, false);
  TestJob job("x", {"a@x"});
  job.set_age(c.age);
  world.deliver(job);
  INFO(c.level << ": " << job.told[0]);
  CHECK(job.told[0].starts_with(c.is_sent ? "sent"
                                          : "deferred 4.7.5 Cannot start TLS: handshake failure"));
}

TEST_CASE("who wants delivery more than TLS gets it, whatever the level") {
  const std::string level = GENERATE("may", "encrypt", "verify", "dane");
  const bool is_broken = GENERATE(true, false);
  World world;
  set_level(world, level);
  FakeServer server([&](const std::string& line) {
    return is_broken ? offers_tls(line) : FakeServer::polite(line);
  });
  server.garbage_after_starttls = is_broken;
  publish(world, server, true);
  publish_tlsa(world, server, good());
  TestJob job("x", {"a@x"});
  job.want_no_tls();
  world.deliver(job);
  INFO(level << ": " << job.told[0]);
  CHECK(job.told[0].starts_with("sent"));
}

TEST_CASE("DANE: a signed record binds, a missing or unsigned one does not") {
  struct Case {
    std::string_view name;
    bool is_secure, has_tlsa, is_tlsa_secure, is_right;
    std::string_view level, expected;
  };
  const auto c = GENERATE(values<Case>({
      {"right record", true, true, true, true, "dane", "sent"},
      {"wrong record", true, true, true, false, "dane",
       "deferred 4.7.5 Server certificate not verified"},
      {"no record", true, false, true, true, "dane", "sent"},
      {"unsigned record", true, true, false, false, "dane", "sent"},
      {"unsigned zone", false, true, true, false, "dane", "sent"},
      {"no record, none but DANE", true, false, true, true, "dane-only",
       "deferred 4.7.5 no TLSA records found"},
      {"unsigned zone, none but DANE", false, true, true, true, "dane-only",
       "deferred 4.7.5 non DNSSEC destination"},
      {"right record, none but DANE", true, true, true, true, "dane-only", "sent"},
  }));
  World world;
  set_level(world, std::string(c.level));
  FakeServer server(offers_tls);
  server.tls = server_context(self_signed());
  publish(world, server, c.is_secure);
  if (c.has_tlsa) {
    publish_tlsa(world, server, c.is_right ? self_signed() : good(), 3, c.is_tlsa_secure);
  }
  TestJob job("x", {"a@x"});
  world.deliver(job);
  INFO(c.name << ": " << job.told[0]);
  CHECK(job.told[0].starts_with(c.expected));
}

TEST_CASE("DANE: a record that cannot be looked up defers, and a server without TLS, too") {
  World world;
  set_level(world, "dane");
  FakeServer server(FakeServer::polite);
  publish(world, server, true);
  SECTION("look-up fails") {
    world.records[fmt::format("_{}._tcp.mx.x TLSA", server.port)].status =
        ipc::resolver::Status::kTemporary;
    TestJob job("x", {"a@x"});
    world.deliver(job);
    CHECK(job.told[0] == fmt::format("deferred 4.7.5 TLSA lookup error for mx.x:{}", server.port));
  }
  SECTION("no STARTTLS") {
    publish_tlsa(world, server, self_signed());
    TestJob job("x", {"a@x"});
    world.deliver(job);
    CHECK(job.told[0].starts_with("deferred 4.7.4 TLS is required, but was not offered"));
  }
  CHECK(server.messages.empty());
}

TEST_CASE("DANE: records that nobody may use ask for encryption alone") {
  World world;
  set_level(world, "dane");
  FakeServer server(offers_tls);
  server.tls = server_context(self_signed());
  publish(world, server, true);
  ipc::resolver::Answer answer;
  answer.is_authenticated = true;
  answer.records.emplace_back().data = "1 1 1 " + std::string(64, 'a');
  world.records[fmt::format("_{}._tcp.mx.x TLSA", server.port)] = answer;
  TestJob job("x", {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].starts_with("sent"));
  CHECK(server.sessions.size() == 1);
}

TEST_CASE("without a validating resolver DANE is off, and the probe says so once") {
  World world;
  set_level(world, "dane");
  world.settings->dnssec_probe = "ns:.";
  FakeServer server(offers_tls);
  server.tls = server_context(self_signed());
  publish(world, server, false);
  for (int i = 0; i < 2; ++i) {
    TestJob job("x", {"a@x"});
    world.deliver(job);
    CHECK(job.told[0].starts_with("sent"));
  }
  CHECK(std::ranges::count(world.questions, ". NS") == 1);
}

TEST_CASE("an enforced MTA-STS policy names the servers, which must prove themselves") {
  struct Case {
    std::string_view name, pattern;
    ipc::sts::Mode mode;
    bool is_good;
    std::string_view expected;
  };
  const auto c = GENERATE(values<Case>({
      {"proven", "mx.x", ipc::sts::Mode::kEnforce, true, "sent"},
      {"not proven", "mx.x", ipc::sts::Mode::kEnforce, false,
       "deferred 4.7.5 Server certificate not verified"},
      {"not named", "other.x", ipc::sts::Mode::kEnforce, true,
       "deferred 4.7.5 host mx.x[127.0.0.1] is none of the servers"},
      {"only tested", "other.x", ipc::sts::Mode::kTesting, false, "sent"},
      {"no policy", "other.x", ipc::sts::Mode::kNone, false, "sent"},
  }));
  World world;
  set_level(world, "may");
  world.settings->tls.params.smtp_mta_sts_enable = true;
  FakeServer server(offers_tls);
  server.tls = server_context(c.is_good ? good() : self_signed());
  publish(world, server, false);
  std::vector<std::string> asked;
  const auto answer = [](ipc::sts::Mode mode,
                         std::string pattern) -> loop::Task<Result<ipc::sts::Policy>> {
    ipc::sts::Policy policy;
    policy.mode = mode;
    policy.mx = {std::move(pattern)};
    co_return policy;
  };
  world.get().use_sts([&](ipc::sts::FindPolicy question) {
    asked.push_back(question.domain);
    return answer(c.mode, std::string(c.pattern));
  });
  TestJob job("x", {"a@x"});
  world.deliver(job);
  INFO(c.name << ": " << job.told[0]);
  CHECK(asked == std::vector<std::string>{"x"});
  CHECK(job.told[0].starts_with(c.expected));
}

TEST_CASE("MTA-STS does not overrule DANE, nor is it asked about a host") {
  World world;
  set_level(world, "dane");
  world.settings->tls.params.smtp_mta_sts_enable = true;
  FakeServer server(offers_tls);
  server.tls = server_context(self_signed());
  unsigned asked = 0;
  const auto answer = []() -> loop::Task<Result<ipc::sts::Policy>> {
    ipc::sts::Policy policy;
    policy.mode = ipc::sts::Mode::kEnforce;
    policy.mx = {"other.x"};
    co_return policy;
  };
  world.get().use_sts([&](ipc::sts::FindPolicy) {
    ++asked;
    return answer();
  });
  publish(world, server, true);
  publish_tlsa(world, server, self_signed());
  TestJob job("x", {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].starts_with("sent"));
  CHECK(asked == 1);

  TestJob direct(at(server), {"a@x"});
  world.deliver(direct);
  CHECK(direct.told[0].starts_with("sent"));
  CHECK(asked == 1);
}

TEST_CASE("a session is resumed with the same server under the same policy") {
  World world;
  set_level(world, "encrypt");
  FakeServer server(offers_tls);
  server.tls = server_context(self_signed());
  publish(world, server, false);
  for (int i = 0; i < 3; ++i) {
    TestJob job("x", {"a@x"});
    world.deliver(job);
    world.settle();
    CHECK(job.told[0].starts_with("sent"));
  }
  REQUIRE(server.sessions.size() == 3);
  CHECK_FALSE(server.sessions[0].is_reused);
  CHECK(server.sessions[1].is_reused);
  CHECK(server.sessions[2].is_reused);
}

TEST_CASE("an encrypted connection is kept only where smtp_tls_connection_reuse says so") {
  const bool reuse = GENERATE(true, false);
  World world;
  set_level(world, "encrypt");
  world.settings->tls.policy->connection_reuse = reuse;
  FakeServer server(offers_tls);
  server.tls = server_context(self_signed());
  publish(world, server, false);
  for (int i = 0; i < 3; ++i) {
    TestJob job("x", {"a@x"});
    job.is_busy = true;
    world.deliver(job);
    CHECK(job.told[0].starts_with("sent"));
  }
  CHECK(server.connections == (reuse ? 1 : 3));
}

TEST_CASE("TLS from the first byte, with our own certificate") {
  World world;
  TlsMaterials materials;
  materials.identities = {tls::parse_identity(good().certificate, good().key).value()};
  set_level(world, "encrypt", materials);
  world.settings->tls.params.smtp_tls_wrappermode = true;
  FakeServer server(FakeServer::polite);
  server.is_wrapped = true;
  server.tls = server_context(self_signed(), true);
  publish(world, server, false);
  TestJob job("x", {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].starts_with("sent"));
  CHECK(server.lines.front() == "EHLO me.example.org");
  REQUIRE(server.sessions.size() == 1);
  CHECK(server.sessions[0].has_peer_certificate);
}

namespace {

std::string offers_require_tls(const std::string& line) {
  if (line.starts_with("EHLO")) return "250-fake\r\n250-REQUIRETLS\r\n250 STARTTLS";
  return offers_tls(line);
}

}  // namespace

TEST_CASE("REQUIRETLS goes through verified servers that offer it, or back") {
  struct Case {
    std::string_view level, policy;
    bool is_offered, is_good;
    std::string_view expected, mail;
  };
  constexpr std::string_view kAsked = "MAIL FROM:<s@example.org> REQUIRETLS";
  constexpr std::string_view kPlain = "MAIL FROM:<s@example.org>";
  const auto c = GENERATE_COPY(values<Case>({
      {"verify", "enforce", true, true, "sent", kAsked},
      {"verify", "enforce", false, true,
       "bounced 5.7.30 REQUIRETLS was asked for, but was not offered by host mx.x[127.0.0.1]", ""},
      {"verify", "enforce", true, false, "deferred 4.7.5 Server certificate not verified", ""},
      {"encrypt", "enforce", true, true,
       "bounced 5.7.10 REQUIRETLS was asked for, but host mx.x[127.0.0.1] cannot be verified", ""},
      {"none", "enforce", true, true, "bounced 5.7.10", ""},
      {"none", "opportunistic+starttls", true, true, "sent", kAsked},
      {"may", "opportunistic", true, false, "sent", kAsked},
      {"may", "opportunistic", false, false, "sent", kPlain},
      {"none", "opportunistic", true, false, "sent", kPlain},
      {"verify", "disable", true, true, "sent", kPlain},
      {"verify", "nonsense", true, true, "deferred 4.3.0", ""},
  }));
  World world;
  set_level(world, std::string(c.level));
  world.settings->tls.params.requiretls_enable = true;
  world.settings->tls.params.smtp_requiretls_policy = {std::string(c.policy)};
  FakeServer server(c.is_offered ? offers_require_tls : offers_tls);
  server.tls = server_context(c.is_good ? good() : self_signed());
  publish(world, server, false);
  TestJob job("x", {"a@x"});
  job.require_tls();
  world.deliver(job);
  INFO(c.level << " " << c.policy << ": " << job.told[0]);
  CHECK(job.told[0].starts_with(c.expected));
  const auto mail = std::ranges::find_if(
      server.lines, [](const std::string& line) { return line.starts_with("MAIL"); });
  CHECK((mail == server.lines.end() ? "" : *mail) == c.mail);
}

TEST_CASE("each try of a TLS session is told for the domain's report") {
  struct Case {
    std::string_view name, level;
    ipc::sts::Mode sts;
    bool offers, is_good;
    std::string_view type, failure;
  };
  const auto c = GENERATE(values<Case>({
      {"no policy", "may", ipc::sts::Mode::kNone, true, false, "no-policy-found", ""},
      {"no TLS", "may", ipc::sts::Mode::kNone, false, false, "no-policy-found",
       "starttls-not-supported"},
      {"enforced", "may", ipc::sts::Mode::kEnforce, true, true, "sts", ""},
      {"enforced, not trusted", "may", ipc::sts::Mode::kEnforce, true, false, "sts",
       "certificate-not-trusted"},
      {"tested, not trusted", "may", ipc::sts::Mode::kTesting, true, false, "sts",
       "certificate-not-trusted"},
      {"tested", "may", ipc::sts::Mode::kTesting, true, true, "sts", ""},
  }));
  World world;
  set_level(world, std::string(c.level));
  world.settings->tls.params.smtp_mta_sts_enable = true;
  world.settings->tls.params.smtp_tlsrpt_enable = true;
  FakeServer server(c.offers ? offers_tls : FakeServer::polite);
  server.tls = server_context(c.is_good ? good() : self_signed());
  publish(world, server, false);
  const auto answer = [](ipc::sts::Mode mode) -> loop::Task<Result<ipc::sts::Policy>> {
    ipc::sts::Policy policy;
    policy.mode = mode;
    policy.mx = {"mx.x"};
    policy.lines = {"version: STSv1"};
    co_return policy;
  };
  world.get().use_sts([&](ipc::sts::FindPolicy) { return answer(c.sts); });
  std::vector<ipc::reports::TlsResult> told;
  world.get().use_tls_reports(
      [&](const ipc::reports::TlsResult& result) { told.push_back(result); });
  TestJob job("x", {"a@x"});
  world.deliver(job);
  INFO(c.name << ": " << job.told[0]);
  REQUIRE(told.size() == 1);
  CHECK(told[0].domain == "x");
  CHECK(told[0].policy_type == c.type);
  CHECK(told[0].failure == c.failure);
  CHECK(told[0].mx_host == "mx.x");
  CHECK(told[0].own_address == "127.0.0.1");
  // Mail with a report is in none, nor is what goes to a host that we were sent to.
  TestJob carrier("x", {"a@x"});
  carrier.is_for_no_report();
  world.deliver(carrier);
  TestJob direct("[mx.x]", {"a@x"});
  world.deliver(direct);
  CHECK(told.size() == 1);
}

TEST_CASE("a server that a tested MTA-STS policy does not name is reported, and gets the mail") {
  World world;
  set_level(world, "may");
  world.settings->tls.params.smtp_mta_sts_enable = true;
  world.settings->tls.params.smtp_tlsrpt_enable = true;
  FakeServer server(offers_tls);
  server.tls = server_context(good());
  publish(world, server, false);
  const auto answer = []() -> loop::Task<Result<ipc::sts::Policy>> {
    ipc::sts::Policy policy;
    policy.mode = ipc::sts::Mode::kTesting;
    policy.mx = {"other.x"};
    co_return policy;
  };
  world.get().use_sts([&](ipc::sts::FindPolicy) { return answer(); });
  std::vector<ipc::reports::TlsResult> told;
  world.get().use_tls_reports(
      [&](const ipc::reports::TlsResult& result) { told.push_back(result); });
  TestJob job("x", {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].starts_with("sent"));
  REQUIRE(told.size() == 1);
  CHECK(told[0].failure == "validation-failure");
}

TEST_CASE("TLS that breaks in the middle of a message gives way to plain where it is old enough") {
  struct Case {
    std::string_view level;
    std::chrono::seconds age;
    std::string_view expected;
  };
  const auto c = GENERATE(values<Case>({
      {"may", 1000s, "sent"},
      {"may", 1s, "deferred 4.4.2 lost connection with mx.x[127.0.0.1] while sending MAIL FROM"},
      {"encrypt", 1000s,
       "deferred 4.4.2 lost connection with mx.x[127.0.0.1] while sending MAIL FROM"},
  }));
  World world;
  set_level(world, std::string(c.level));
  bool is_secret = false;
  FakeServer server([&](const std::string& line) -> std::string {
    if (line == "STARTTLS") is_secret = true;
    if (is_secret && line.starts_with("MAIL")) {
      is_secret = false;
      return "";
    }
    return offers_tls(line);
  });
  server.tls = server_context(self_signed());
  publish(world, server, false);
  TestJob job("x", {"a@x", "b@x"});
  job.set_age(c.age);
  world.deliver(job);
  INFO(c.level << ": " << job.told[0]);
  CHECK(job.told[0].starts_with(c.expected));
  CHECK(job.told[1].starts_with(c.expected));
  CHECK(server.messages.size() == (c.expected == "sent" ? 1 : 0));
}

}  // namespace postern::smtpclient
