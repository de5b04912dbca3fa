#include "master/service_table.h"

#include <catch2/catch.hpp>

#include "master/child.h"

namespace postern::master {

namespace {

std::shared_ptr<config::Snapshot> snapshot_of(std::vector<std::string> lines,
                                              std::vector<config::Setting> settings = {}) {
  auto snapshot = std::make_shared<config::Snapshot>();
  snapshot->computed["daemon_directory"] = "/d";
  snapshot->settings = std::move(settings);
  unsigned line = 0;
  for (const std::string& text : lines) {
    auto service = config::parse_service(text, "master.cf", ++line);
    REQUIRE(service.has_value());
    snapshot->services.push_back(*std::move(service));
  }
  snapshot->index();
  return snapshot;
}

config::Setting setting(std::string name, std::string value) {
  config::Setting made;
  made.name = std::move(name);
  made.value = std::move(value);
  return made;
}

bool is_any_installed(const std::string&) { return true; }

ServiceSpec only_service(const std::string& line, std::vector<config::Setting> settings = {}) {
  const auto table =
      make_service_table(snapshot_of({line}, std::move(settings)), 8, is_any_installed);
  REQUIRE(table.services.size() == 1);
  return table.services.front();
}

std::vector<std::string> names_of(const std::vector<Endpoint>& endpoints) {
  std::vector<std::string> names;
  for (const Endpoint& endpoint : endpoints) names.push_back(endpoint.name());
  return names;
}

}  // namespace

TEST_CASE("an inet service listens where inet_interfaces and its own host part say") {
  struct Case {
    std::string service, interfaces, protocols;
    std::vector<std::string> expected;
  };
  const auto c = GENERATE(values<Case>({
      {"smtp", "all", "ipv4", {"inet:0.0.0.0:25"}},
      {"smtp", "all", "all", {"inet:0.0.0.0:25", "inet::::25"}},
      {"submissions", "all", "ipv4", {"inet:0.0.0.0:465"}},
      {"127.0.0.1:10025", "all", "all", {"inet:127.0.0.1:10025"}},
      {"[::1]:10025", "all", "all", {"inet:::1:10025"}},
      {"2525", "192.0.2.1", "ipv4", {"inet:192.0.2.1:2525"}},
  }));
  auto snapshot = snapshot_of(
      {}, {setting("inet_interfaces", c.interfaces), setting("inet_protocols", c.protocols)});
  snapshot->own_addresses = {"192.0.2.1"};
  const auto endpoints = inet_endpoints(config::Values(snapshot), c.service);
  REQUIRE(endpoints.has_value());
  CHECK(names_of(*endpoints) == c.expected);
}

TEST_CASE("a port that is none is refused") {
  const auto name = GENERATE(as<std::string>(), "0", "65536", "99999999999999999999",
                             "no-such-port", "127.0.0.1:", "-1");
  const auto snapshot = snapshot_of({});
  CHECK_FALSE(inet_endpoints(config::Values(snapshot), name).has_value());
}

TEST_CASE("the limit of a service follows its kind of program") {
  struct Case {
    std::string line;
    std::int64_t limit;
  };
  const auto c = GENERATE(values<Case>({
      {"25 inet n - n - - smtpd", 10000},
      {"25 inet n - n - 7 smtpd", 7},
      {"25 inet n - n - 0 smtpd", 0},
      {"relay unix - - n - - smtp", 100},
      {"relay unix - - n - 5 smtp", 5},
      {"cleanup unix n - n - 0 cleanup", 0},
      {"qmgr unix n - n 300 1 qmgr", 0},
      {"rewrite unix - - n - 1 trivial-rewrite", 0},
  }));
  INFO(c.line);
  CHECK(only_service(c.line).limit == c.limit);
}

TEST_CASE("default_process_limit bounds smtpd where main.cf sets it") {
  const auto spec =
      only_service("25 inet n - n - - smtpd", {setting("default_process_limit", "50")});
  CHECK(spec.limit == 50);
}

TEST_CASE("flags, sockets and the first start come from the columns and the program") {
  const ServiceSpec pickup = only_service("pickup fifo n - y 60 1 pickup -v");
  CHECK(pickup.flags == std::vector<std::string>{"-c", "-u", "-v"});
  CHECK(names_of(pickup.endpoints) == std::vector<std::string>{"stream:public/pickup"});
  CHECK(pickup.start == Start::kAtOnce);
  CHECK(pickup.wakeup == std::chrono::seconds(60));
  CHECK(pickup.workers == 1);

  const ServiceSpec local = only_service("local unix - n n - - local");
  CHECK(local.flags.empty());
  CHECK(names_of(local.endpoints) == std::vector<std::string>{"stream:private/local"});
  CHECK(local.start == Start::kOnDemand);
  CHECK(local.is_agent);

  const ServiceSpec log = only_service("postlog unix-dgram n - n - 1 postlogd");
  CHECK(log.path == "/d/postlog");
  CHECK(names_of(log.endpoints) == std::vector<std::string>{"datagram:public/postlog"});
}

TEST_CASE("reports of a day that is over are sent without waiting for news") {
  const std::string line = "reports unix - - n - 1 reports";
  CHECK(only_service(line).start == Start::kOnDemand);
  CHECK(only_service(line, {setting("smtp_tlsrpt_enable", "yes")}).start == Start::kAtOnce);
  CHECK(only_service(line, {setting("dmarc_report_enable", "yes")}).start == Start::kAtOnce);
}

TEST_CASE("arguments of a command are no options of its daemon") {
  const ServiceSpec pipe = only_service("x unix - n n - - pipe flags=R user=u argv=/bin/x -v");
  CHECK(pipe.flags.empty());
}

TEST_CASE("lines that start nothing have no listener, missing programs are named once") {
  const auto snapshot =
      snapshot_of({"tlsmgr unix - - n 1000? 1 tlsmgr", "proxymap unix - - n - - proxymap",
                   "proxywrite unix - - n - 1 proxymap", "odd unix - - n - - oddity",
                   "25 inet n - n - - smtpd"});
  const auto table =
      make_service_table(snapshot, 1, [](const std::string& path) { return path == "/d/smtpd"; });
  REQUIRE(table.services.size() == 1);
  CHECK(table.services[0].key() == "25/inet");
  CHECK(table.unsupported == std::vector<std::string>{"proxymap"});
  REQUIRE(table.problems.size() == 1);
  CHECK(table.problems[0] == "master.cf, line 4: service odd/unix: there is no program /d/oddity");
}

TEST_CASE("services are left out as master_service_disable says") {
  const auto word = GENERATE(as<std::string>(), "25/inet", "25", "inet");
  const auto table =
      make_service_table(snapshot_of({"25 inet n - n - - smtpd", "qmgr unix n - n 300 1 qmgr"},
                                     {setting("master_service_disable", word)}),
                         1, is_any_installed);
  REQUIRE(table.services.size() == 1);
  CHECK(table.services[0].name == "qmgr");
}

TEST_CASE("the services of our own are added where master.cf has no line for them") {
  auto snapshot = snapshot_of({"rewrite unix - - n - 3 trivial-rewrite"});
  complete_services(*snapshot);
  const auto* rewrite = snapshot->find_service("rewrite", config::ServiceType::kUnix);
  REQUIRE(rewrite != nullptr);
  CHECK(rewrite->maxproc == 3U);
  CHECK(snapshot->find_service("resolver", config::ServiceType::kUnix) != nullptr);
  CHECK(snapshot->find_service("postlog", config::ServiceType::kUnixDgram) != nullptr);
}

TEST_CASE("of two lines for one service the later one counts") {
  auto snapshot = snapshot_of({"relay unix - - n - 3 smtp", "relay unix - - n - 4 smtp"});
  complete_services(*snapshot);
  std::size_t count = 0;
  for (const auto& service : snapshot->services) {
    if (service.name != "relay") continue;
    ++count;
    CHECK(service.maxproc == 4U);
  }
  CHECK(count == 1);
}

TEST_CASE("the log writer comes first") {
  const auto table =
      make_service_table(snapshot_of({"25 inet n - n - - smtpd", "qmgr unix n - n 300 1 qmgr",
                                      "postlog unix-dgram n - n - 1 postlogd"}),
                         1, is_any_installed);
  REQUIRE(table.services.size() == 3);
  CHECK(table.services[0].program == "postlog");
  CHECK(table.services[1].name == "25");
}

TEST_CASE("numbers of processes differ, are bounded, and are used again late") {
  SlotPool pool;
  std::vector<bool> seen(SlotPool::kSlots);
  for (unsigned i = 0; i < SlotPool::kSlots; ++i) {
    const auto slot = pool.take();
    REQUIRE(slot.has_value());
    CHECK_FALSE(seen[*slot]);
    seen[*slot] = true;
  }
  CHECK_FALSE(pool.take().has_value());
  pool.give_back(17);
  CHECK(pool.take() == 17U);

  SlotPool fresh;
  const auto first = fresh.take();
  fresh.give_back(*first);
  CHECK(fresh.take() != first);
}

}  // namespace postern::master
