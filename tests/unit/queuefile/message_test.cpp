// Envelope, writer and reader together: what is written is read back, whatever is done to it
// otherwise is noticed.

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>

#include "common/queuefile/reader.h"
#include "common/queuefile/state.h"
#include "common/queuefile/writer.h"
#include "common/sys/fd.h"

namespace postern::queuefile {

namespace {

Envelope full_envelope() {
  Envelope e;
  e.sender = "alice@example.org";
  e.arrival = {1795367255, 123456};
  e.encoding = ContentEncoding::k8bit;
  e.smtputf8 = kUtf8Requested | kUtf8Header;
  e.dsn_ret = DsnReturn::kHeaders;
  e.dsn_envid = "QQ+2B314159";
  e.client = {"client.example.org", "192.0.2.7", "40123", "unknown", "mail.example.org", "ESMTP"};
  e.sasl_method = "PLAIN";
  e.sasl_username = "alice";
  e.sasl_sender = "<>";
  e.rewrite_context = "remote";
  e.origin = Origin::kForward;
  e.flags = kFlagTrace | kFlagNoMilter;
  e.verp_delims = "+=";
  e.content_filter = "smtp:[127.0.0.1]:10025";
  e.redirect = "audit@example.org";
  e.attributes = {{"dsn_orig", "x=y"}, {"empty_is_kept", ""}};
  e.delay_warning = DelayWarning{1795381655, State::kPending, 0};
  e.recipients = {
      {.address = "bob@example.net",
       .orig_to = "b@example.net",
       .dsn_orcpt = "rfc822;b@example.net",
       .notify = kNotifyFailure | kNotifyDelay},
      {.address = "carol@example.net",
       .resolved =
           Resolved{AddressClass::kRelay, "smtp", "mx.example.net", "carol@example.net", true, 77}},
  };
  return e;
}

struct Built {
  std::string bytes;
  Envelope envelope;
};

Built build(std::string_view body, Amendment* amendment = nullptr,
            Envelope envelope = full_envelope()) {
  Writer writer(envelope);
  std::string bytes;
  while (!body.empty()) {
    const std::string_view chunk = body.substr(0, 60'000);
    writer.append_body(chunk);
    body.remove_prefix(chunk.size());
    if (writer.is_due()) bytes += writer.take();
  }
  writer.finish("Subject: hello\nFrom: alice\n", 4711, amendment);
  bytes += writer.take();
  CHECK(writer.written() == bytes.size());
  envelope.message_size = 4711;
  return {std::move(bytes), std::move(envelope)};
}

sys::Fd file_with(std::string_view bytes, mode_t mode = kCommittedMode) {
  sys::Fd fd(::memfd_create("message", MFD_CLOEXEC));
  REQUIRE(write_all(fd.get(), bytes).has_value());
  REQUIRE(::fchmod(fd.get(), mode) == 0);
  return fd;
}

RefusalKind refusal_of(const Opened<Message>& opened) {
  REQUIRE_FALSE(opened.has_value());
  INFO(opened.error().text);
  CHECK_FALSE(opened.error().text.empty());
  return opened.error().kind;
}

}  // namespace

TEST_CASE("a small message reads back whole") {
  const Built built = build("line 1\nline 2\n");
  const auto message = parse_message(built.bytes);
  REQUIRE(message.has_value());
  CHECK(message->envelope == built.envelope);

  const sys::Fd fd = file_with(built.bytes);
  const auto opened = open_message(fd.get());
  REQUIRE(opened.has_value());
  CHECK(opened->envelope == built.envelope);
  CHECK(opened->header() == "Subject: hello\nFrom: alice\n");
  CHECK(opened->body() == "line 1\nline 2\n");
  CHECK_FALSE(opened->forced_expire);
}

TEST_CASE("a message without header, as postdrop leaves it, reads back whole") {
  Envelope envelope;
  envelope.sender = "a@x";
  envelope.recipients.emplace_back().address = "b@y";
  Writer writer(envelope);
  writer.append_body("Subject: x\n\ny\n");
  writer.finish({}, writer.body_size());
  const auto message = parse_message(writer.take());
  if (!message) INFO(message.error().text);
  CHECK(message.has_value());
}

TEST_CASE("a message without anything reads back") {
  Envelope empty;
  Writer writer(empty);
  writer.finish("", 0);
  const auto message = parse_message(writer.take());
  REQUIRE(message.has_value());
  CHECK(message->envelope == empty);
  CHECK(message->layout.body.length == 0);
}

TEST_CASE("a large message reads back, with and without its checksum") {
  std::string body;
  while (body.size() < 1'000'000) body += "The quick brown fox jumps over the lazy dog.\n";
  Amendment amendment{.sender = "new@example.org",
                      .attributes = {{"redirect_to", "late@example.org"}, {"free", "1"}},
                      .recipients = {{.address = "late@example.net"}}};
  const bool with_extra = GENERATE(true, false);
  const Built built = build(body, with_extra ? &amendment : nullptr);
  const sys::Fd fd = file_with(built.bytes);
  const auto verify = GENERATE(Verify::kEverything, Verify::kStructure);
  const auto opened = open_message(fd.get(), {.owner = ::getuid(), .verify = verify});
  REQUIRE(opened.has_value());
  CHECK_FALSE(opened->is_in_memory());
  CHECK(read_extent(fd.get(), opened->layout.body, body.size()).value() == body);
  CHECK_FALSE(read_extent(fd.get(), opened->layout.body, body.size() - 1).has_value());
  CHECK(read_extent(fd.get(), opened->layout.header, 100).value() ==
        "Subject: hello\nFrom: alice\n");
  if (!with_extra) {
    CHECK(opened->envelope == built.envelope);
  } else {
    CHECK(opened->envelope.sender == "new@example.org");
    CHECK(opened->envelope.redirect == "late@example.org");
    REQUIRE(opened->envelope.recipients.size() == 3);
    CHECK(opened->envelope.recipients[2] == amendment.recipients[0]);
    CHECK(opened->envelope.attributes.back() == std::pair<std::string, std::string>("free", "1"));
  }
}

TEST_CASE("a very large envelope reads back") {
  Envelope envelope;
  for (int i = 0; i < 20'000; ++i) {
    envelope.recipients.push_back({.address = fmt::format("user{}@example.org", i)});
  }
  const Built built = build("x\n", nullptr, envelope);
  const sys::Fd fd = file_with(built.bytes);
  const auto opened = open_message(fd.get());
  REQUIRE(opened.has_value());
  CHECK(opened->envelope == built.envelope);
}

TEST_CASE("recipients that are not wanted take no memory, and hide no damage") {
  Envelope envelope;
  envelope.sender = "s@example.org";
  // More than is read at first, or less.
  envelope.attributes.emplace_back("note", std::string(GENERATE(10U, 16'000U), 'n'));
  for (int i = 0; i < 5'000; ++i) {
    envelope.recipients.push_back({.address = fmt::format("user{}@example.org", i)});
  }
  const Built built = build("x\n", nullptr, envelope);
  const auto verify = GENERATE(Verify::kEverything, Verify::kStructure);
  const sys::Fd fd = file_with(built.bytes);
  const OpenOptions options{.verify = verify, .recipients = Recipients::kSkip};
  const auto opened = open_message(fd.get(), options);
  REQUIRE(opened.has_value());
  CHECK(opened->envelope.recipients.capacity() == 0);
  Envelope expected = built.envelope;
  expected.recipients.clear();
  CHECK(opened->envelope == expected);

  std::string damaged = built.bytes;
  damaged[damaged.find("user4999@")] = 'x';
  const sys::Fd bad = file_with(damaged);
  CHECK(open_message(bad.get(), options).has_value() == (verify == Verify::kStructure));
}

TEST_CASE("only the second run counts after the body was replaced") {
  Envelope envelope = full_envelope();
  Writer writer(envelope);
  writer.append_body("first\n");
  writer.restart_body();
  writer.append_body("sec");
  writer.append_body("ond\n");
  writer.finish("H: 1\n", 12);
  const std::string bytes = writer.take();
  const sys::Fd fd = file_with(bytes);
  CHECK(open_message(fd.get()).value().body() == "second\n");
}

TEST_CASE("states are written in place and leave the checksum alone") {
  const std::string body = GENERATE(std::string("short\n"), std::string(100'000, 'x'));
  Amendment amendment{.recipients = {{.address = "late@example.net"}}};
  const Built built = build(body, &amendment);
  const sys::Fd fd = file_with(built.bytes);

  Envelope envelope = open_message(fd.get()).value().envelope;
  REQUIRE(envelope.recipients.size() == 3);
  REQUIRE(write_state(fd.get(), envelope.recipients[0].state_offset, State::kDone).has_value());
  REQUIRE(write_state(fd.get(), envelope.recipients[1].state_offset, State::kReturned).has_value());
  REQUIRE(write_state(fd.get(), envelope.recipients[2].state_offset, State::kRemoved).has_value());
  REQUIRE(write_state(fd.get(), envelope.delay_warning->state_offset, State::kDone).has_value());

  envelope = open_message(fd.get()).value().envelope;
  CHECK(envelope.recipients[0].state == State::kDone);
  CHECK(envelope.recipients[1].state == State::kReturned);
  CHECK(envelope.recipients[2].state == State::kRemoved);
  CHECK(envelope.delay_warning->state == State::kDone);

  // A state that nobody wrote is a recipient that still waits.
  REQUIRE(::pwrite(fd.get(), "?", 1, static_cast<off_t>(envelope.recipients[0].state_offset)) == 1);
  CHECK(open_message(fd.get()).value().envelope.recipients[0].state == State::kPending);
}

TEST_CASE("no one or two flipped bits turn one state into another") {
  constexpr State kStates[] = {State::kPending, State::kDone, State::kReturned, State::kRemoved};
  for (const State a : kStates) {
    CHECK(parse_state(static_cast<char>(a)) == a);
    for (const State b : kStates) {
      if (a == b) continue;
      CHECK(std::popcount(
                static_cast<unsigned char>(static_cast<char>(a) ^ static_cast<char>(b))) >= 4);
    }
  }
}

TEST_CASE("a recipient removed before commit is marked in memory or on disk") {
  Envelope envelope = full_envelope();
  Writer writer(envelope);
  CHECK_FALSE(writer.mark(envelope.recipients[0].state_offset, State::kRemoved));
  std::string bytes = writer.take();
  const auto write = writer.mark(envelope.recipients[1].state_offset, State::kRemoved);
  REQUIRE(write.has_value());
  bytes[write->offset] = static_cast<char>(write->state);
  writer.finish("", 0);
  bytes += writer.take();
  const auto message = parse_message(bytes);
  REQUIRE(message.has_value());
  CHECK(message->envelope.recipients[0].state == State::kRemoved);
  CHECK(message->envelope.recipients[1].state == State::kRemoved);
}

TEST_CASE("every flipped byte is noticed, but for the states") {
  Amendment amendment{.recipients = {{.address = "late@example.net"}}};
  const Built built = build("body\n", &amendment);
  std::vector<std::uint64_t> states = {built.envelope.delay_warning->state_offset};
  for (const Recipient& r : built.envelope.recipients) states.push_back(r.state_offset);
  for (const Recipient& r : amendment.recipients) states.push_back(r.state_offset);
  for (std::size_t at = 0; at < built.bytes.size(); ++at) {
    const bool is_state = std::ranges::find(states, at) != states.end();
    std::string bytes = built.bytes;
    for (unsigned bit = 0; bit < 8; ++bit) {
      bytes[at] = static_cast<char>(built.bytes[at] ^ static_cast<char>(1U << bit));
      INFO("offset " << at << " bit " << bit);
      CHECK(parse_message(bytes).has_value() == is_state);
    }
  }
}

TEST_CASE("a file cut short anywhere is unfinished, never a message") {
  const Built built = build("body\n");
  for (std::size_t cut = 0; cut < built.bytes.size(); ++cut) {
    INFO("cut at " << cut);
    const auto kind = refusal_of(parse_message(std::string_view(built.bytes).substr(0, cut)));
    CHECK(kind == (cut == 0 ? RefusalKind::kUnfinished : RefusalKind::kNoTrailer));
  }
}

TEST_CASE("a flipped byte in a large body is noticed when everything is verified") {
  const std::string body(300'000, 'x');
  Built built = build(body);
  built.bytes[200'000] = 'y';
  const sys::Fd fd = file_with(built.bytes);
  CHECK(refusal_of(open_message(fd.get())) == RefusalKind::kDamaged);
  CHECK(open_message(fd.get(), {.verify = Verify::kStructure}).has_value());
}

TEST_CASE("what is no message is told apart") {
  const Built built = build("body\n");
  SECTION("not committed") {
    CHECK(refusal_of(open_message(file_with(built.bytes, 0600).get())) == RefusalKind::kUnfinished);
  }
  SECTION("empty") {
    CHECK(refusal_of(open_message(file_with("").get())) == RefusalKind::kUnfinished);
  }
  SECTION("lost in a power cut") {
    const std::string zeros(GENERATE(500U, 100'000U, 700'000U), '\0');
    CHECK(refusal_of(open_message(file_with(zeros).get())) == RefusalKind::kUnfinished);
  }
  // It may have been acknowledged, and may be read by a person.
  SECTION("lost in part, content among zeros") {
    std::string zeros(GENERATE(500U, 20'000U, 100'000U, 700'000U), '\0');
    zeros[zeros.size() / 2] = 'x';
    CHECK(refusal_of(open_message(file_with(zeros).get())) == RefusalKind::kDamaged);
  }
  SECTION("the end lost") {
    const std::string whole = build(std::string(GENERATE(100U, 300'000U), 'x')).bytes;
    const std::string cut = whole.substr(0, whole.size() / 2) + std::string(whole.size() / 2, '\0');
    CHECK(refusal_of(open_message(file_with(cut).get())) == RefusalKind::kNoTrailer);
  }
  SECTION("bytes after the trailer") {
    CHECK(refusal_of(open_message(file_with(built.bytes + "\n").get())) == RefusalKind::kNoTrailer);
  }
  SECTION("random") {
    const std::string junk(GENERATE(1U, 500U, 100'000U), '\x5a');
    CHECK(refusal_of(open_message(file_with(junk).get())) == RefusalKind::kDamaged);
  }
  SECTION("of Postfix") {
    const std::string foreign =
        "C\x2f"
        "            442             673               1"
        "T\x11"
        "1795367255 123456A";
    CHECK(refusal_of(open_message(file_with(foreign).get())) == RefusalKind::kForeign);
  }
  SECTION("of another mode") {
    CHECK(refusal_of(open_message(file_with(built.bytes, 0644).get())) == RefusalKind::kNotOurs);
    CHECK(refusal_of(open_message(file_with(built.bytes, 04700).get())) == RefusalKind::kNotOurs);
  }
  SECTION("of another owner") {
    const sys::Fd fd = file_with(built.bytes);
    CHECK(refusal_of(open_message(fd.get(), {.owner = ::getuid() + 1})) == RefusalKind::kNotOurs);
  }
  SECTION("a directory") {
    const sys::Fd fd(::open("/", O_RDONLY | O_DIRECTORY));
    CHECK(refusal_of(open_message(fd.get())) == RefusalKind::kNotOurs);
  }
  SECTION("a bad descriptor") { CHECK(refusal_of(open_message(-1)) == RefusalKind::kNotRead); }
}

TEST_CASE("forced expiry is a bit of the mode") {
  const sys::Fd fd = file_with(build("x\n").bytes, kCommittedMode | kForcedExpireBit);
  CHECK(open_message(fd.get()).value().forced_expire);
}

TEST_CASE("an envelope that could not be read back is refused before it is written") {
  CHECK(check_bounds(full_envelope()).has_value());
  struct Case {
    std::string_view name;
    void (*spoil)(Envelope&);
  };
  const auto c = GENERATE(values<Case>({
      {"sender", [](Envelope& e) { e.sender.assign(kMaxAddress + 1, 'x'); }},
      {"recipient", [](Envelope& e) { e.recipients[0].address.assign(kMaxAddress + 1, 'x'); }},
      {"nexthop", [](Envelope& e) { e.recipients[1].resolved->nexthop.assign(5000, 'x'); }},
      {"notify", [](Envelope& e) { e.recipients[0].notify = 16; }},
      {"reserved name", [](Envelope& e) { e.attributes.emplace_back("sasl_username", "root"); }},
      {"bad known value", [](Envelope& e) { e.attributes.emplace_back("flags", "many"); }},
      {"no name", [](Envelope& e) { e.attributes.emplace_back("", "x"); }},
      {"= in name", [](Envelope& e) { e.attributes.emplace_back("a=b", "x"); }},
      {"long name", [](Envelope& e) { e.attributes.emplace_back(std::string(200, 'n'), "x"); }},
      {"long value", [](Envelope& e) { e.attributes.emplace_back("n", std::string(20'000, 'x')); }},
      {"long member", [](Envelope& e) { e.client.helo.assign(kMaxAttributeValue + 1, 'x'); }},
      {"time", [](Envelope& e) { e.arrival.seconds = -1; }},
      {"count", [](Envelope& e) { e.recipients.resize(kMaxRecipients + 1); }},
  }));
  Envelope envelope = full_envelope();
  c.spoil(envelope);
  INFO(c.name);
  CHECK_FALSE(check_bounds(envelope).has_value());
}

}  // namespace postern::queuefile
