// The resolver against name servers on loopback sockets.

#include "common/dns/resolver.h"

#include <fmt/format.h>
#include <ldns/ldns.h>
#include <catch2/catch.hpp>

#include <functional>

#include "common/base/text.h"
#include "common/loop/stream.h"

namespace postern::dns {

namespace {

using namespace std::chrono_literals;

struct FreePacket {
  void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
};

// Answers in zone file lines. A first word in capitals is special: NXDOMAIN, SERVFAIL, REFUSED,
// FORMERR (where EDNS is used), SILENCE, TRUNCATE (over UDP), SPOOF (a wrong id comes first);
// "SOA n" puts an SOA with that minimum into the authority section.
class FakeDns {
 public:
  using Zone =
      std::function<std::vector<std::string>(const std::string& name, const std::string& type)>;
  explicit FakeDns(Zone zone) : zone_(std::move(zone)) {
    const auto any = sys::parse_address("127.0.0.1", 0);
    tcp_ = sys::listen_inet(*any, 10).value();
    address = sys::local_address(tcp_.get()).value();
    udp_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(udp_.get(), address.get(), address.length) == 0);
    udp_watch_.open(udp_.get());
    tcp_watch_.open(tcp_.get());
    loop::spawn(serve_udp());
    loop::spawn(serve_tcp());
  }
  ~FakeDns() {
    udp_watch_.close();
    tcp_watch_.close();
  }

  sys::SocketAddress address;
  unsigned udp_queries = 0;
  unsigned tcp_queries = 0;
  std::vector<std::uint16_t> ports;

 private:
  loop::Task<void> serve_udp() {
    char buffer[4096];
    for (;;) {
      const loop::Wait wait = co_await udp_watch_.readable(loop::kNever);
      if (wait != loop::Wait::kReady) co_return;
      sys::SocketAddress from;
      from.length = sizeof from.storage;
      const ssize_t size =
          ::recvfrom(udp_.get(), buffer, sizeof buffer, MSG_DONTWAIT, from.get(), &from.length);
      if (size < 0) {
        udp_watch_.clear_read();
        continue;
      }
      ++udp_queries;
      ports.push_back(from.port());
      for (const auto& answer : answer_to({buffer, static_cast<std::size_t>(size)}, true)) {
        ::sendto(udp_.get(), answer.data(), answer.size(), 0, from.get(), from.length);
      }
    }
  }

  loop::Task<void> serve_tcp() {
    for (;;) {
      const loop::Wait wait = co_await tcp_watch_.readable(loop::kNever);
      if (wait != loop::Wait::kReady) co_return;
      auto accepted = sys::accept_connection(tcp_.get());
      if (!accepted || !accepted->fd) {
        tcp_watch_.clear_read();
        continue;
      }
      loop::Stream stream(std::move(accepted->fd));
      while (stream.input().size() < 12) {
        const loop::Io io = co_await stream.fill(loop::kNever);
        if (io != loop::Io::kOk) co_return;
      }
      ++tcp_queries;
      for (const auto& answer : answer_to(stream.input().substr(2), false)) {
        std::string frame;
        frame += static_cast<char>(answer.size() >> 8U);
        frame += static_cast<char>(answer.size() & 0xffU);
        // In two pieces: a reader must not take the first for the whole.
        stream.put(frame + answer.substr(0, 10));
        co_await stream.flush(loop::kNever);
        stream.put(answer.substr(10));
        co_await stream.flush(loop::kNever);
      }
    }
  }

  std::vector<std::string> answer_to(std::string_view query, bool is_udp) {
    ldns_pkt* raw = nullptr;
    REQUIRE(ldns_wire2pkt(&raw, reinterpret_cast<const std::uint8_t*>(query.data()),
                          query.size()) == LDNS_STATUS_OK);
    const std::unique_ptr<ldns_pkt, FreePacket> packet(raw);
    const bool has_edns = ldns_pkt_edns(raw);
    ldns_rr* question = ldns_rr_list_rr(ldns_pkt_question(raw), 0);
    char* name_text = ldns_rdf2str(ldns_rr_owner(question));
    char* type_text = ldns_rr_type2str(ldns_rr_get_type(question));
    const std::string name(trim_right(name_text, "."));
    const std::string type(type_text);
    LDNS_FREE(name_text);
    LDNS_FREE(type_text);

    ldns_pkt_set_qr(raw, true);
    std::vector<std::string> out;
    for (const auto& line : zone_(name, type)) {
      if (line == "SILENCE") return {};
      if (line == "NXDOMAIN") ldns_pkt_set_rcode(raw, LDNS_RCODE_NXDOMAIN);
      if (line == "SERVFAIL") ldns_pkt_set_rcode(raw, LDNS_RCODE_SERVFAIL);
      if (line == "REFUSED") ldns_pkt_set_rcode(raw, LDNS_RCODE_REFUSED);
      if (line == "FORMERR" && has_edns) ldns_pkt_set_rcode(raw, LDNS_RCODE_FORMERR);
      if (line == "TRUNCATE" && is_udp) {
        ldns_pkt_set_tc(raw, true);
        break;
      }
      if (line == "SPOOF") {
        const std::uint16_t id = ldns_pkt_id(raw);
        ldns_pkt_set_id(raw, static_cast<std::uint16_t>(id + 1));
        out.push_back(wire(raw));
        ldns_pkt_set_id(raw, id);
      }
      if (line.starts_with("SOA ")) {
        add(raw, LDNS_SECTION_AUTHORITY,
            fmt::format("x. 3600 IN SOA a. b. 1 2 3 4 {}", line.substr(4)));
      }
      if (line.find(" IN ") != std::string::npos) add(raw, LDNS_SECTION_ANSWER, line);
    }
    out.push_back(wire(raw));
    return out;
  }
  static void add(ldns_pkt* packet, ldns_pkt_section section, const std::string& line) {
    ldns_rr* record = nullptr;
    REQUIRE(ldns_rr_new_frm_str(&record, line.c_str(), 0, nullptr, nullptr) == LDNS_STATUS_OK);
    ldns_pkt_push_rr(packet, section, record);
  }
  static std::string wire(ldns_pkt* packet) {
    std::uint8_t* data = nullptr;
    std::size_t size = 0;
    REQUIRE(ldns_pkt2wire(&data, packet, &size) == LDNS_STATUS_OK);
    std::string message(reinterpret_cast<char*>(data), size);
    LDNS_FREE(data);
    return message;
  }

  Zone zone_;
  sys::Fd udp_;
  sys::Fd tcp_;
  loop::FdWatch udp_watch_;
  loop::FdWatch tcp_watch_;
};

struct World {
  loop::Loop loop;
  std::vector<LookupPtr> results;

  static ResolvConf conf(std::vector<const FakeDns*> servers) {
    ResolvConf out;
    for (const auto* server : servers) out.servers.push_back(server->address);
    out.timeout = 1s;
    return out;
  }
  LookupPtr ask(Resolver& resolver, const std::string& name, RecordType type, unsigned times = 1) {
    results.clear();
    left_ = times;
    for (unsigned i = 0; i < times; ++i) loop::spawn(one(resolver, name, type));
    loop.run();
    return results.front();
  }

 private:
  loop::Task<void> one(Resolver& resolver, std::string name, RecordType type) {
    LookupPtr result = co_await resolver.look_up(name, type);
    results.push_back(std::move(result));
    if (--left_ == 0) loop.stop();
  }
  unsigned left_ = 0;
};

std::vector<std::string> one_address(const std::string& name, const std::string& type) {
  if (type == "A") return {name + ". 60 IN A 192.0.2.1"};
  return {"SOA 60"};
}

}  // namespace

TEST_CASE("an answer is found, kept, and shared by those who ask at once") {
  World world;
  FakeDns server(one_address);
  Resolver resolver(World::conf({&server}));
  const auto first = world.ask(resolver, "Host.example.org", RecordType::kA, 5);
  CHECK(first->status == LookupStatus::kFound);
  REQUIRE(first->records.size() == 1);
  CHECK(std::get<Address>(first->records[0].data).to_text() == "192.0.2.1");
  CHECK(server.udp_queries == 1);
  CHECK(world.results.size() == 5);
  CHECK(world.ask(resolver, "host.EXAMPLE.org.", RecordType::kA)->status == LookupStatus::kFound);
  CHECK(server.udp_queries == 1);
  resolver.configure(World::conf({&server}));
  world.ask(resolver, "host.example.org", RecordType::kA);
  CHECK(server.udp_queries == 2);
}

TEST_CASE("each query has a port of its own") {
  World world;
  FakeDns server(one_address);
  Resolver resolver(World::conf({&server}));
  for (int i = 0; i < 20; ++i) world.ask(resolver, fmt::format("h{}.x", i), RecordType::kA);
  std::ranges::sort(server.ports);
  const auto same = std::ranges::unique(server.ports);
  CHECK(same.size() < 5);
}

TEST_CASE("what is not there is said in the words that log readers know, and kept by its SOA") {
  World world;
  std::string soa = "SOA 60";
  FakeDns server([&](const std::string& name, const std::string&) -> std::vector<std::string> {
    if (name == "gone.x") return {"NXDOMAIN", soa};
    return {soa};
  });
  Resolver resolver(World::conf({&server}));
  const auto gone = world.ask(resolver, "gone.x", RecordType::kMx);
  CHECK(gone->status == LookupStatus::kNoSuchName);
  CHECK(
      gone->error ==
      "Host or domain name not found. Name service error for name=gone.x type=MX: Host not found");
  const auto none = world.ask(resolver, "some.x", RecordType::kAaaa);
  CHECK(none->status == LookupStatus::kNoData);
  CHECK(none->error ==
        "Host or domain name not found. Name service error for name=some.x type=AAAA: Host found "
        "but no data record of requested type");
  CHECK(server.udp_queries == 2);
  world.ask(resolver, "gone.x", RecordType::kMx);
  world.ask(resolver, "some.x", RecordType::kAaaa);
  CHECK(server.udp_queries == 2);
  soa = "";
  world.ask(resolver, "other.x", RecordType::kA);
  world.ask(resolver, "other.x", RecordType::kA);
  CHECK(server.udp_queries == 4);
}

TEST_CASE("a server that fails, refuses or is silent is followed by the next") {
  const std::string how = GENERATE(as<std::string>{}, "SERVFAIL", "REFUSED", "SILENCE");
  World world;
  FakeDns bad([&](const std::string&, const std::string&) { return std::vector{how}; });
  FakeDns good(one_address);
  Resolver resolver(World::conf({&bad, &good}));
  CHECK(world.ask(resolver, "h.x", RecordType::kA)->status == LookupStatus::kFound);
  CHECK(bad.udp_queries == 1);
  world.ask(resolver, "i.x", RecordType::kA);
  // One that was silent is not waited for again.
  CHECK(bad.udp_queries == (how == "SILENCE" ? 1U : 2U));
}

TEST_CASE("without a usable answer the failure is temporary") {
  const std::string how = GENERATE(as<std::string>{}, "SERVFAIL", "REFUSED", "SILENCE");
  World world;
  FakeDns bad([&](const std::string&, const std::string&) { return std::vector{how}; });
  Resolver resolver(World::conf({&bad}));
  const auto lookup = world.ask(resolver, "h.x", RecordType::kMx);
  CHECK(lookup->status == LookupStatus::kTemporary);
  CHECK(lookup->error ==
        "Host or domain name not found. Name service error for name=h.x type=MX: Host not found, "
        "try again");
  CHECK(bad.udp_queries == (how == "SILENCE" ? 2U : 1U));
  // Nobody listens.
  ResolvConf nobody = World::conf({&bad});
  nobody.servers = {sys::parse_address("127.0.0.2", 1).value()};
  resolver.configure(nobody);
  CHECK(world.ask(resolver, "h.x", RecordType::kMx)->status == LookupStatus::kTemporary);
}

TEST_CASE("a truncated answer is asked for over TCP") {
  World world;
  FakeDns server([](const std::string& name, const std::string&) {
    std::vector<std::string> out{"TRUNCATE"};
    for (int i = 0; i < 200; ++i) out.push_back(fmt::format("{}. 60 IN A 192.0.2.{}", name, i));
    return out;
  });
  Resolver resolver(World::conf({&server}));
  CHECK(world.ask(resolver, "h.x", RecordType::kA)->records.size() == 200);
  CHECK(server.tcp_queries == 1);
}

TEST_CASE("foreign datagrams are passed over, and EDNS is left out where it is not known") {
  World world;
  const std::string how = GENERATE(as<std::string>{}, "SPOOF", "FORMERR");
  FakeDns server([&](const std::string& name, const std::string& type) {
    auto out = one_address(name, type);
    out.insert(out.begin(), how);
    return out;
  });
  Resolver resolver(World::conf({&server}));
  CHECK(world.ask(resolver, "h.x", RecordType::kA)->status == LookupStatus::kFound);
}

TEST_CASE("aliases are followed, but not for ever") {
  World world;
  FakeDns server([&](const std::string& name, const std::string&) -> std::vector<std::string> {
    if (name == "a.x") return {"a.x. 60 IN CNAME b.x."};
    if (name == "b.x") return {"b.x. 60 IN A 192.0.2.7"};
    return {name + ". 60 IN CNAME n" + name + "."};
  });
  Resolver resolver(World::conf({&server}));
  const auto found = world.ask(resolver, "a.x", RecordType::kA);
  CHECK(found->status == LookupStatus::kFound);
  CHECK(found->canonical_name == "b.x");
  CHECK(world.ask(resolver, "loop.x", RecordType::kA)->status == LookupStatus::kTemporary);
  CHECK(server.udp_queries < 20);
}

TEST_CASE("the cache is bounded") {
  World world;
  FakeDns server(one_address);
  Resolver resolver(World::conf({&server}), {.entries = 10, .bytes = 1 << 20, .under_way = 2});
  for (int i = 0; i < 30; ++i) world.ask(resolver, fmt::format("h{}.x", i), RecordType::kA);
  CHECK(resolver.cached() == 10);
  world.ask(resolver, "h29.x", RecordType::kA);
  CHECK(server.udp_queries == 30);
  world.ask(resolver, "h0.x", RecordType::kA);
  CHECK(server.udp_queries == 31);
}

TEST_CASE("what is no domain name is never asked for") {
  World world;
  FakeDns server(one_address);
  Resolver resolver(World::conf({&server}));
  const auto bad = world.ask(resolver, std::string(300, 'x'), RecordType::kA);
  CHECK(bad->status == LookupStatus::kNoSuchName);
  CHECK(server.udp_queries == 0);
}

}  // namespace postern::dns
