#include "common/dns/wire.h"

#include <ldns/ldns.h>
#include <catch2/catch.hpp>

#include <memory>

namespace postern::dns {

namespace {

using namespace std::string_view_literals;

constexpr std::uint16_t kId = 4711;

// Builds answers out of zone file lines, so that what is tested against is not our own encoder.
class TestAnswer {
 public:
  TestAnswer(std::string_view name, std::string_view type)
      : packet_(ldns_pkt_query_new(ldns_dname_new_frm_str(std::string(name).c_str()),
                                   ldns_get_rr_type_by_name(std::string(type).c_str()),
                                   LDNS_RR_CLASS_IN, LDNS_RD)) {
    ldns_pkt_set_qr(packet_.get(), true);
    ldns_pkt_set_id(packet_.get(), kId);
  }
  TestAnswer& answer(const char* line) { return add(LDNS_SECTION_ANSWER, line); }
  TestAnswer& authority(const char* line) { return add(LDNS_SECTION_AUTHORITY, line); }
  TestAnswer& additional(const char* line) { return add(LDNS_SECTION_ADDITIONAL, line); }
  ldns_pkt* get() { return packet_.get(); }

  std::string bytes() {
    std::uint8_t* data = nullptr;
    std::size_t size = 0;
    REQUIRE(ldns_pkt2wire(&data, packet_.get(), &size) == LDNS_STATUS_OK);
    std::string message(reinterpret_cast<char*>(data), size);
    LDNS_FREE(data);
    return message;
  }

 private:
  TestAnswer& add(ldns_pkt_section section, const char* line) {
    ldns_rr* record = nullptr;
    REQUIRE(ldns_rr_new_frm_str(&record, line, 0, nullptr, nullptr) == LDNS_STATUS_OK);
    ldns_pkt_push_rr(packet_.get(), section, record);
    return *this;
  }
  struct Free {
    void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
  };
  std::unique_ptr<ldns_pkt, Free> packet_;
};

}  // namespace

TEST_CASE("each record type is read") {
  struct Case {
    RecordType type;
    const char* line;
    RecordData data;
  };
  const auto c = GENERATE(values<Case>({
      {RecordType::kA, "x.test. 60 IN A 192.0.2.1", Address{{192, 0, 2, 1}, false}},
      {RecordType::kAaaa, "x.test. 60 IN AAAA 2001:db8::1",
       Address{{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, true}},
      {RecordType::kMx, "x.test. 60 IN MX 10 MX.y.test.", Mx{10, "MX.y.test"}},
      {RecordType::kMx, "x.test. 60 IN MX 0 .", Mx{0, ""}},
      {RecordType::kTxt, "x.test. 60 IN TXT \"v=spf1 \" \"-all\"", Txt{"v=spf1 -all"}},
      {RecordType::kPtr, "x.test. 60 IN PTR host.x.test.", Host{"host.x.test"}},
      {RecordType::kCname, "x.test. 60 IN CNAME y.test.", Host{"y.test"}},
      {RecordType::kNs, "x.test. 60 IN NS ns.test.", Host{"ns.test"}},
      {RecordType::kSrv, "x.test. 60 IN SRV 1 2 587 mail.x.test.", Srv{1, 2, 587, "mail.x.test"}},
      {RecordType::kTlsa, "x.test. 60 IN TLSA 3 1 1 0102ff", Tlsa{3, 1, 1, "\x01\x02\xff"}},
      {RecordType::kSoa, "x.test. 60 IN SOA ns.test. h.test. 1 2 3 4 5",
       Soa{"ns.test", "h.test", 1, 2, 3, 4, 5}},
      {RecordType::kPtr, "x.test. 60 IN PTR a\\.b\\\\.x.test.", Host{"a\\.b\\\\.x.test"}},
      {RecordType::kPtr, "x.test. 60 IN PTR a\\010b.test.", Host{"a\\010b.test"}},
  }));
  INFO(c.line);
  TestAnswer test("x.test.", type_name(c.type));
  test.answer(c.line);
  const auto answer = parse_answer(test.bytes(), kId, {"x.TEST", c.type});
  REQUIRE(answer.has_value());
  REQUIRE(answer->records.size() == 1);
  CHECK(answer->records[0] == Record{60, c.data});
  CHECK(answer->ttl == 60);
  CHECK_FALSE(answer->is_alias({"x.TEST", c.type}));
}

TEST_CASE("CNAMEs are followed within the answer, and only what they lead to counts") {
  TestAnswer test("www.test.", "A");
  test.answer("b.test. 40 IN A 192.0.2.1")
      .answer("www.test. 50 IN CNAME A.test.")
      .answer("a.test. 30 IN CNAME b.test.")
      .answer("other.test. 1 IN A 192.0.2.9")
      .answer("www.test. 1 IN A 192.0.2.8")
      .additional("b.test. 1 IN A 192.0.2.7");
  const auto answer = parse_answer(test.bytes(), kId, {"www.test", RecordType::kA});
  REQUIRE(answer.has_value());
  CHECK(answer->canonical_name == "b.test");
  CHECK(answer->is_alias({"www.test", RecordType::kA}));
  CHECK(answer->ttl == 30);
  REQUIRE(answer->records.size() == 1);
  CHECK(std::get<Address>(answer->records[0].data).to_text() == "192.0.2.1");
}

TEST_CASE("a circle of CNAMEs is a temporary error") {
  TestAnswer test("a.test.", "A");
  test.answer("a.test. 1 IN CNAME b.test.").answer("b.test. 1 IN CNAME a.test.");
  const auto answer = parse_answer(test.bytes(), kId, {"a.test", RecordType::kA});
  REQUIRE_FALSE(answer.has_value());
  CHECK(answer.error().kind == Error::Kind::kTemporary);
}

TEST_CASE("how long nothing may be kept is the SOA's to say") {
  struct Case {
    const char* soa;
    std::uint32_t ttl;
  };
  const auto c = GENERATE(values<Case>({
      {"test. 600 IN SOA ns.test. h.test. 1 2 3 4 300", 300},
      {"test. 60 IN SOA ns.test. h.test. 1 2 3 4 300", 60},
      {"test. 999999 IN SOA ns.test. h.test. 1 2 3 4 999999", kMaxNegativeTtl},
      {"test. 60 IN NS ns.test.", 0},
  }));
  TestAnswer test("x.test.", "MX");
  ldns_pkt_set_rcode(test.get(), LDNS_RCODE_NXDOMAIN);
  test.authority(c.soa);
  const auto answer = parse_answer(test.bytes(), kId, {"x.test", RecordType::kMx});
  REQUIRE(answer.has_value());
  CHECK(answer->rcode == Rcode::kNoSuchName);
  CHECK(answer->ttl == c.ttl);
}

TEST_CASE("flags and large or negative ttls are read") {
  TestAnswer test("x.test.", "A");
  ldns_pkt_set_ad(test.get(), true);
  ldns_pkt_set_tc(test.get(), true);
  test.answer("x.test. 2147483647 IN A 192.0.2.1");
  std::string bytes = test.bytes();
  auto answer = parse_answer(bytes, kId, {"x.test.", RecordType::kA}).value();
  CHECK(answer.is_authenticated);
  CHECK(answer.is_truncated);
  CHECK(answer.ttl == kMaxTtl);
  bytes[bytes.size() - 10] = static_cast<char>(0xff);  // top byte of the ttl
  CHECK(parse_answer(bytes, kId, {"x.test", RecordType::kA}).value().ttl == 0);
}

TEST_CASE("no more than kMaxRecords are taken") {
  TestAnswer test("x.test.", "A");
  for (std::size_t i = 0; i < kMaxRecords + 1; ++i) {
    test.answer(fmt::format("x.test. 60 IN A 10.0.{}.{}", i / 256, i % 256).c_str());
  }
  const auto answer = parse_answer(test.bytes(), kId, {"x.test", RecordType::kA}).value();
  CHECK(answer.records.size() == kMaxRecords);
  CHECK(answer.is_cut);
}

TEST_CASE("an answer to something else is refused") {
  TestAnswer test("x.test.", "A");
  test.answer("x.test. 60 IN A 192.0.2.1");
  const std::string good = test.bytes();
  REQUIRE(parse_answer(good, kId, {"x.test", RecordType::kA}).has_value());
  CHECK_FALSE(parse_answer(good, kId + 1, {"x.test", RecordType::kA}).has_value());
  CHECK_FALSE(parse_answer(good, kId, {"y.test", RecordType::kA}).has_value());
  CHECK_FALSE(parse_answer(good, kId, {"x.test", RecordType::kMx}).has_value());
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    INFO("cut at " << cut);
    CHECK_FALSE(parse_answer(std::string_view(good).substr(0, cut), kId, {"x.test", RecordType::kA})
                    .has_value());
  }
  ldns_pkt_set_qr(test.get(), false);
  CHECK_FALSE(parse_answer(test.bytes(), kId, {"x.test", RecordType::kA}).has_value());
}

TEST_CASE("a question is encoded as others read it") {
  const auto edns = GENERATE(Edns::kNone, Edns::kPlain, Edns::kDnssec);
  const std::string bytes =
      encode_query(kId, {"_25._tcp.Mx.test.", RecordType::kTlsa}, edns).value();
  ldns_pkt* packet = nullptr;
  REQUIRE(ldns_wire2pkt(&packet, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                        bytes.size()) == LDNS_STATUS_OK);
  CHECK(ldns_pkt_id(packet) == kId);
  CHECK(message_id(bytes) == kId);
  CHECK(ldns_pkt_rd(packet));
  CHECK(ldns_pkt_ad(packet));
  CHECK(ldns_pkt_edns(packet) == (edns != Edns::kNone));
  CHECK(ldns_pkt_edns_do(packet) == (edns == Edns::kDnssec));
  if (edns != Edns::kNone) CHECK(ldns_pkt_edns_udp_size(packet) == kUdpPayload);
  char* text = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_question(packet), 0));
  CHECK(std::string_view(text).starts_with("_25._tcp.Mx.test.\tIN\tTLSA"));
  free(text);
  ldns_pkt_free(packet);
}

TEST_CASE("what is no domain name is not asked for") {
  const std::string label(63, 'a');
  CHECK(encode_query(1, {label + ".test", RecordType::kA}, Edns::kNone).has_value());
  CHECK(encode_query(1, {"", RecordType::kNs}, Edns::kNone).has_value());
  for (const std::string& bad :
       {std::string(64, 'a') + ".test", std::string("a..test"), std::string(".test"),
        std::string("a\\.b.test"), label + "." + label + "." + label + "." + label}) {
    INFO(bad);
    const auto query = encode_query(1, {bad, RecordType::kA}, Edns::kNone);
    REQUIRE_FALSE(query.has_value());
    CHECK(query.error().kind == Error::Kind::kPermanent);
  }
}

TEST_CASE("addresses are turned round for PTR and DNS lists") {
  CHECK(reverse_name(*parse_address("192.0.2.1")) == "1.2.0.192.in-addr.arpa");
  CHECK(reverse_labels(*parse_address("2001:db8::1")) ==
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2");
  CHECK_FALSE(parse_address("192.0.2.256").has_value());
  CHECK_FALSE(parse_address("192.0.2.1\0"sv).has_value());
}

TEST_CASE("host names") {
  for (const std::string_view good : {"a", "mx.example.org", "_dmarc.x", "1.2.3.4", "a-b.c"}) {
    CHECK(is_host_name(good));
  }
  for (const std::string_view bad :
       {"", ".", "a.", "-a.b", "a-.b", "a b", "a\\.b", "a\n", "ä.de"}) {
    INFO(bad);
    CHECK_FALSE(is_host_name(bad));
  }
}

}  // namespace postern::dns
