// The engine against servers on loopback sockets.

#include "engine_world.h"

namespace postern::smtpclient {

TEST_CASE("a message is relayed, pipelined, and the connection is left politely") {
  World world;
  FakeServer server(FakeServer::polite);
  TestJob job(at(server), {"a@x", "b@x"}, "Subject: x\n", ".dot\nno end");
  world.deliver(job);
  world.settle();
  const std::string sent = "sent 2.0.0 250 2.0.0 stored";
  CHECK(job.told == std::vector<std::string>{sent, sent});
  CHECK(job.last.relay == fmt::format("127.0.0.1[127.0.0.1]:{}", server.port));
  CHECK(job.last.remote_mta == "dns; 127.0.0.1");
  CHECK(server.lines == std::vector<std::string>{"EHLO me.example.org", "MAIL FROM:<s@example.org>",
                                                 "RCPT TO:<a@x>", "RCPT TO:<b@x>", "DATA", "QUIT"});
  CHECK(server.messages == std::vector<std::string>{"Subject: x\n\n.dot\nno end\n"});
  CHECK(world.lookups == 0);
}

TEST_CASE("a size is told where the message is sent as it is") {
  World world;
  FakeServer server([](const std::string& line) -> std::string {
    if (line.starts_with("EHLO")) return "250-fake\r\n250-8BITMIME\r\n250 SIZE";
    return FakeServer::polite(line);
  });
  TestJob job(at(server), {"a@x"}, "Subject: x\n", "x\n");
  world.deliver(job);
  world.settle();
  REQUIRE(server.lines.size() > 1);
  CHECK(server.lines[1] == "MAIL FROM:<s@example.org> SIZE=14");
}

TEST_CASE("a large message arrives as it is") {
  World world;
  FakeServer server(FakeServer::polite);
  std::string body;
  while (body.size() < 1'000'000) body += fmt::format(".line {}\n\n", body.size());
  TestJob job(at(server), {"a@x"}, "Subject: large\n", body);
  world.deliver(job);
  REQUIRE(job.told[0].starts_with("sent"));
  CHECK(server.messages.front() == "Subject: large\n\n" + body);
}

TEST_CASE("each recipient gets the answer that was meant for it") {
  const bool pipelining = GENERATE(true, false);
  World world;
  FakeServer server([&](const std::string& line) -> std::string {
    if (line.starts_with("EHLO") && !pipelining) return "250 fake";
    if (line.find("bad@") != std::string::npos) return "550-5.1.1 no\r\n550 5.1.1 such";
    if (line.find("later@") != std::string::npos) return "450 4.2.0 later";
    if (line.find("full@") != std::string::npos) return "552 5.5.3 too many";
    return FakeServer::polite(line);
  });
  TestJob job(at(server), {"bad@x", "ok@x", "later@x", "full@x", "ctl\n@x"});
  world.deliver(job);
  const std::string h = "127.0.0.1[127.0.0.1]";
  CHECK(job.told[0] == "bounced 5.1.1 host " + h +
                           " said: 550-5.1.1 no 550 5.1.1 such (in reply to RCPT TO command)");
  CHECK(job.told[1] == "sent 2.0.0 250 2.0.0 stored");
  CHECK(job.told[2] ==
        "deferred 4.2.0 host " + h + " said: 450 4.2.0 later (in reply to RCPT TO command)");
  CHECK(job.told[3].starts_with("deferred 4.5.3 host " + h + " said: 452"));
  CHECK(job.told[4].starts_with("bounced 5.1.3"));
  CHECK_FALSE(job.destination_failed);
}

TEST_CASE("a failure at each step concerns all recipients left") {
  struct Case {
    std::string_view at, reply, told;
  };
  const auto c = GENERATE(values<Case>({
      {"MAIL", "550 5.7.1 no",
       "bounced 5.7.1 host H said: 550 5.7.1 no (in reply to MAIL FROM command)"},
      {"MAIL", "450 4.7.1 later",
       "deferred 4.7.1 host H said: 450 4.7.1 later (in reply to MAIL FROM command)"},
      {"MAIL", "", "deferred 4.4.2 lost connection with H while sending MAIL FROM"},
      {"RCPT", "", "deferred 4.4.2 lost connection with H while sending RCPT TO"},
      {"DATA", "554 5.7.0 no",
       "bounced 5.7.0 host H said: 554 5.7.0 no (in reply to DATA command)"},
      {"DATA", "250 fine?", "deferred 4.5.0 host H said: 250 fine? (in reply to DATA command)"},
      {"DATA", "", "deferred 4.4.2 lost connection with H while sending DATA command"},
      {".", "554 5.6.0 no",
       "bounced 5.6.0 host H said: 554 5.6.0 no (in reply to end of DATA command)"},
      {".", "354 more?", "deferred 4.5.0 host H said: 354 more? (in reply to end of DATA command)"},
      {"EHLO", "421 4.3.2 busy", "deferred 4.3.2 host H refused to talk to me: 421 4.3.2 busy"},
      {"EHLO", "", "deferred 4.4.2 lost connection with H while performing the EHLO handshake"},
      {"MAIL", "what is that",
       "deferred 4.5.0 protocol error of H while sending MAIL FROM: not an SMTP reply: \"what is "
       "that\""},
  }));
  INFO(c.at << " " << c.reply);
  World world;
  FakeServer server([&](const std::string& line) {
    return line.starts_with(c.at) ? std::string(c.reply) : FakeServer::polite(line);
  });
  TestJob job(at(server), {"a@x", "b@x"});
  world.deliver(job);
  std::string expected(c.told);
  if (const auto place = expected.find('H'); place != std::string::npos) {
    expected.replace(place, 1, "127.0.0.1[127.0.0.1]");
    if (expected.find("the EHLO") == std::string::npos) {
      CHECK(expected.find(" H ") == std::string::npos);
    }
  }
  CHECK(job.told == std::vector<std::string>{expected, expected});
}

TEST_CASE("greetings are judged before anything is said") {
  struct Case {
    std::string_view banner;
    bool skip_5xx;
    std::string_view told;
  };
  const auto c = GENERATE(values<Case>({
      {"554 5.3.2 closed", true,
       "deferred 4.3.2 host 127.0.0.1[127.0.0.1] refused to talk to me: 554 5.3.2 closed"},
      {"554 5.3.2 closed", false,
       "bounced 5.3.2 host 127.0.0.1[127.0.0.1] refused to talk to me: 554 5.3.2 closed"},
      {"450 later", true,
       "deferred 4.0.0 host 127.0.0.1[127.0.0.1] refused to talk to me: 450 later"},
      {"", true,
       "deferred 4.4.2 lost connection with 127.0.0.1[127.0.0.1] while receiving the initial "
       "server greeting"},
  }));
  World world;
  world.settings->params.smtp_skip_5xx_greeting = c.skip_5xx;
  FakeServer server(FakeServer::polite);
  server.banner = c.banner;
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0] == c.told);
}

TEST_CASE("a server that knows no EHLO is spoken to in plain SMTP") {
  World world;
  FakeServer server([](const std::string& line) {
    return line.starts_with("EHLO") ? std::string("502 what") : FakeServer::polite(line);
  });
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0].starts_with("sent"));
  CHECK(server.lines[1] == "HELO me.example.org");
  CHECK(server.lines[2] == "MAIL FROM:<s@example.org>");
}

TEST_CASE("a server with our own name is a loop") {
  World world;
  FakeServer server([](const std::string& line) {
    return line.starts_with("EHLO") ? std::string("250 me.example.org") : FakeServer::polite(line);
  });
  world.settings->smtp_port = server.port;
  TestJob job(at(server), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0] == fmt::format("bounced 5.4.6 mail for {} loops back to myself", at(server)));
}

TEST_CASE("best_mx_transport takes what would come back to ourselves") {
  World world;
  FakeServer server(FakeServer::polite);
  world.settings->params.best_mx_transport = GENERATE("local", "local:", "local:[here]");
  world.settings->smtp_port = server.port;
  world.settings->own_addresses = {"127.0.0.1"};
  TestJob job(at(server), {"a@x", "b@x"});
  world.deliver(job);
  const bool has_nexthop = world.settings->params.best_mx_transport.ends_with(']');
  const std::string expected = "rerouted local:" + (has_nexthop ? "[here]" : at(server));
  CHECK(job.told == std::vector<std::string>{expected, expected});
  CHECK(server.messages.empty());
}

TEST_CASE("no fallback relay for a destination whose mail server we are") {
  World world;
  FakeServer relay(FakeServer::polite);
  FakeServer dead(FakeServer::polite);
  dead.stop();
  const std::uint16_t port = relay.port;
  world.settings->params.smtp_fallback_relay = {at(relay)};
  world.settings->smtp_port = port;
  world.hosts.has_mx = true;
  // Linux answers on all of 127/8; nothing listens on 127.0.0.2.
  world.hosts.hosts = {host("a.x", {"127.0.0.2"}), host("b.x", {"127.0.0.9"})};
  world.hosts.hosts[1].preference = 20;
  SECTION("somebody else's") {
    TestJob job(fmt::format("x:{}", port), {"a@x"});
    world.deliver(job);
    CHECK(job.told[0].starts_with("sent"));
  }
  SECTION("our own, as a backup") {
    world.settings->own_addresses = {"127.0.0.9"};
    TestJob job(fmt::format("x:{}", port), {"a@x"});
    world.deliver(job);
    INFO(job.told[0]);
    CHECK(job.told[0].starts_with("deferred 4.4.1 connect to a.x[127.0.0.2]"));
    CHECK(relay.messages.empty());
  }
}

TEST_CASE("a dead server and a busy one are passed by") {
  World world;
  FakeServer server(FakeServer::polite);
  FakeServer dead(FakeServer::polite);
  dead.stop();
  world.hosts.has_mx = true;
  // Linux answers on all of 127/8; nothing listens on 127.0.0.2.
  world.hosts.hosts = {host("a.x", {"127.0.0.2"}), host("b.x", {"127.0.0.1"})};
  TestJob job(fmt::format("x:{}", server.port), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0] == "sent 2.0.0 250 2.0.0 stored");
  CHECK(job.last.relay == fmt::format("b.x[127.0.0.1]:{}", server.port));

  TestJob lost(at(dead), {"a@x"});
  world.deliver(lost);
  CHECK(lost.told[0] == fmt::format("deferred 4.4.1 connect to 127.0.0.1[127.0.0.1]:{}: "
                                    "Connection refused",
                                    dead.port));
  CHECK(lost.destination_failed);
}

TEST_CASE("the fallback relay gets what the destination does not take for now") {
  World world;
  FakeServer first([](const std::string& line) {
    return line.starts_with("RCPT TO:<later") ? std::string("450 4.2.0 no")
                                              : FakeServer::polite(line);
  });
  FakeServer second(FakeServer::polite);
  world.settings->params.smtp_fallback_relay = {at(second)};
  TestJob job(at(first), {"ok@x", "later@x"});
  world.deliver(job);
  CHECK(job.told[1] == "sent 2.0.0 250 2.0.0 stored");
  CHECK(first.messages.size() == 1);
  CHECK(second.messages.size() == 1);
}

TEST_CASE("with soft_bounce the next server is asked after a refusal, too") {
  const bool is_soft = GENERATE(true, false);
  World world;
  world.settings->soft_bounce = is_soft;
  FakeServer first([](const std::string& line) {
    return line.starts_with("RCPT") ? std::string("550 5.1.1 no") : FakeServer::polite(line);
  });
  FakeServer second(FakeServer::polite);
  world.settings->params.smtp_fallback_relay = {at(second)};
  TestJob job(at(first), {"a@x"});
  world.deliver(job);
  CHECK(second.messages.size() == (is_soft ? 1 : 0));
  CHECK(job.told[0].starts_with(is_soft ? "sent" : "bounced 5.1.1"));
}

TEST_CASE("connections are kept while there is traffic, and end in time") {
  World world;
  FakeServer server(FakeServer::polite);
  world.settings->params.smtp_connection_cache_time_limit = 1s;
  // The queue manager says so, or there were twenty in a row.
  const bool is_said = GENERATE(true, false);
  const unsigned alone = is_said ? 0 : 20;
  constexpr unsigned kCount = 40;
  for (unsigned i = 0; i < kCount; ++i) {
    TestJob job(at(server), {"a@x"});
    job.is_busy = is_said;
    world.deliver(job);
    REQUIRE(job.told[0].starts_with("sent"));
    if (i == kCount - 1) CHECK(job.last.conn_use == kCount - alone);
  }
  // Those had one each; one more connection served all others.
  CHECK(server.connections == alone + 1);
  CHECK(world.get().idle_connections() == 1);
  // As Postfix does it, each use of a kept one begins with RSET.
  CHECK(std::ranges::count(server.lines, "RSET") == std::ptrdiff_t{kCount - alone - 1});
  world.settle(1500ms);
  CHECK(world.get().idle_connections() == 0);
  CHECK(server.lines.back() == "QUIT");
}

TEST_CASE("smtp_connection_cache_destinations names hosts without brackets and port") {
  const auto c = GENERATE(values<std::pair<std::string, bool>>({
      {"127.0.0.1", true},
      {"other.x, 127.0.0.1", true},
      {"!127.0.0.1, 127.0.0.1", false},
      {"other.x", false},
  }));
  World world;
  FakeServer server(FakeServer::polite);
  world.settings->params.smtp_connection_cache_on_demand = false;
  world.settings->kept_destinations = config::SiteList(
      config::split_list(c.first), false, config::Values(std::make_shared<config::Snapshot>()));
  for (int i = 0; i < 3; ++i) {
    TestJob job(at(server), {"a@x"});
    world.deliver(job);
    CHECK(job.told[0].starts_with("sent"));
  }
  INFO(c.first);
  CHECK(server.connections == (c.second ? 1 : 3));
}

TEST_CASE("a connection whose envelope was refused is cleared and closed, not used again") {
  World world;
  bool has_recipient = false;
  FakeServer server([&](const std::string& line) -> std::string {
    if (line == "RCPT TO:<bad@x>") return "550 5.1.1 no";
    if (line.starts_with("MAIL")) has_recipient = false;
    if (line.starts_with("RCPT")) has_recipient = true;
    if (line == "DATA" && !has_recipient) return "503 5.5.1 no recipients";
    return FakeServer::polite(line);
  });
  for (const char* to : {"a@x", "bad@x", "c@x", "d@x"}) {
    TestJob job(at(server), {to});
    job.is_busy = true;
    world.deliver(job);
    CHECK(job.told[0].starts_with(to == std::string_view("bad@x") ? "bounced" : "sent"));
  }
  CHECK(server.messages.size() == 3);
  // At the beginning of each second use of a kept one, and before the first one's QUIT.
  CHECK(std::ranges::count(server.lines, "RSET") == 3);
  CHECK(server.connections == 2);
}

TEST_CASE("content that a server takes for nobody is ended at once") {
  World world;
  FakeServer server([](const std::string& line) {
    return line.starts_with("RCPT") ? std::string("550 5.1.1 no") : FakeServer::polite(line);
  });
  TestJob job(at(server), {"bad@x"});
  world.deliver(job);
  world.settle();
  CHECK(job.told[0].starts_with("bounced 5.1.1"));
  CHECK(server.messages == std::vector<std::string>{""});
  CHECK(server.lines.back() == "QUIT");
}

TEST_CASE("a kept connection that has ended costs nobody anything") {
  World world;
  int mails = 0;
  FakeServer server([&](const std::string& line) -> std::string {
    if (line.starts_with("MAIL") && ++mails == 3) return GENERATE(as<std::string>{}, "", "421 bye");
    return FakeServer::polite(line);
  });
  for (int i = 0; i < 3; ++i) {
    TestJob job(at(server), {"a@x"});
    job.is_busy = true;
    world.deliver(job);
    CHECK(job.told[0] == "sent 2.0.0 250 2.0.0 stored");
  }
  CHECK(server.messages.size() == 3);
}

TEST_CASE("many deliveries at once share what connections there are") {
  World world;
  FakeServer server(FakeServer::polite);
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<TestJob>> jobs;
    std::vector<TestJob*> pointers;
    for (int i = 0; i < 10; ++i) {
      jobs.push_back(std::make_unique<TestJob>(at(server), std::vector<std::string>{"a@x"}));
      jobs.back()->is_busy = true;
      pointers.push_back(jobs.back().get());
    }
    world.deliver(pointers);
    for (const auto& job : jobs) CHECK(job->told[0].starts_with("sent"));
  }
  CHECK(server.messages.size() == 50);
  CHECK(server.connections <= 20);
}

TEST_CASE("a silent server is given up in its time") {
  World world;
  world.settings->params.smtp_mail_timeout = 1s;
  FakeServer server([](const std::string& line) {
    return line.starts_with("MAIL") ? std::string("-") : FakeServer::polite(line);
  });
  FakeServer slow([](const std::string& line) {
    return line == "EHLO me.example.org" ? std::string("250 fake") : std::string("-");
  });
  TestJob job(at(slow), {"a@x"});
  world.deliver(job);
  CHECK(job.told[0] ==
        "deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while sending MAIL FROM");
}

TEST_CASE("LMTP has an answer for each recipient") {
  World world(Protocol::kLmtp);
  int dots = 0;
  FakeServer server(
      [&](const std::string& line) -> std::string {
        if (line == "RCPT TO:<no@x>") return "550 5.1.1 no";
        if (line == "." && ++dots == 2) return "452 4.2.2 full";
        return FakeServer::polite(line);
      },
      true);
  TestJob job("inet:" + at(server), {"a@x", "no@x", "full@x", "c@x"});
  world.deliver(job);
  CHECK(job.told[0] == "sent 2.0.0 250 2.0.0 stored");
  CHECK(job.told[1].starts_with("bounced 5.1.1"));
  CHECK(job.told[2] ==
        "deferred 4.2.2 host 127.0.0.1[127.0.0.1] said: 452 4.2.2 full (in reply to "
        "end of DATA command)");
  CHECK(job.told[3] == "sent 2.0.0 250 2.0.0 stored");
  CHECK(server.lines.front() == "LHLO me.example.org");
}

TEST_CASE("more recipients than fit into one flight are still each answered") {
  World world;
  FakeServer server(FakeServer::polite);
  std::vector<std::string> to;
  for (int i = 0; i < 1000; ++i) to.push_back(fmt::format("user{}@x", i));
  TestJob job(at(server), to);
  world.deliver(job);
  CHECK(std::ranges::all_of(job.told, [](const auto& t) { return t.starts_with("sent"); }));
  CHECK(server.messages.size() == 1);
}

}  // namespace postern::smtpclient
