#include "postern/why_story.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace postern::control {

namespace {

constexpr std::int64_t kNow = 1'000'000'000;
constexpr std::string_view kRefused = "connect to mx.a.test[192.0.2.1]:25: Connection refused";

queuefile::Reason reason(std::uint64_t offset, std::int64_t time, std::string_view text,
                         std::string_view action = "delayed") {
  queuefile::Reason out;
  out.address = "x@a.test";
  out.state_offset = offset;
  out.time = time;
  out.action = action;
  out.status = "4.4.1";
  out.text = text;
  return out;
}

Story deferred() {
  Story story;
  story.queue_name = "deferred";
  story.queue_id = "3A15CA8E012";
  story.size = 442;
  story.envelope.sender = "s@b.test";
  story.envelope.arrival.seconds = kNow - 100;
  story.envelope.client = {
      .name = "client.b.test", .address = "192.0.2.10", .helo = "me\x1b[2J", .protocol = "ESMTP"};
  story.recipients.resize(2);
  story.recipients[0].recipient.address = "x@a.test";
  story.recipients[0].recipient.state_offset = 7;
  story.recipients[1].recipient.address = "y@b.test";
  story.recipients[1].recipient.state = queuefile::State::kDone;
  story.recipients[1].recipient.state_offset = 8;
  story.next_attempt = kNow + 250;
  story.lifetime = {432'000, "maximal_queue_lifetime"};
  for (auto& entry : story.recipients) entry.lifetime = story.lifetime;
  return story;
}

bool holds(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a story tells each attempt, and equal ones once") {
  Story story = deferred();
  add_attempts(
      story, {reason(7, kNow - 90, kRefused), reason(7, kNow - 80, kRefused),
              reason(0, kNow - 75, "the sender was told", "warned"), reason(7, kNow - 70, kRefused),
              reason(7, kNow - 60, "something else"), reason(99, kNow - 50, "of nobody")});
  REQUIRE(story.recipients[0].attempts.size() == 4);
  CHECK(story.recipients[1].attempts.empty());
  CHECK(story.warned == kNow - 75);
  const std::string text = print_story(story, kNow);
  INFO(text);
  CHECK(holds(text, "3A15CA8E012  s@b.test -> 2 recipients   442 bytes   deferred\n"));
  CHECK(holds(text, "received from client.b.test [192.0.2.10], helo me?[2J, ESMTP, not auth"));
  CHECK(holds(text, "attempt 1   4.4.1 connect to mx.a.test"));
  CHECK(holds(text, "attempts 2 to 3: same\n"));
  CHECK(holds(text, "attempt 4   4.4.1 something else\n"));
  CHECK(holds(text, "  y@b.test  delivered\n"));
  CHECK(holds(text, "(in 4 min), gives up "));
  CHECK(holds(text, "(maximal_queue_lifetime 5 d)\n"));
  CHECK(holds(text, "Try     postern queue retry --domain a.test\n"));
}

TEST_CASE("a held message waits for its operator, whatever was tried before") {
  Story story = deferred();
  story.queue_name = "hold";
  story.next_attempt = 0;
  story.envelope.sasl_username = "joe";
  add_attempts(story, {reason(7, kNow - 90, kRefused)});
  const std::string text = print_story(story, kNow);
  CHECK(holds(text, "next try  when it is released\n"));
  CHECK(holds(text, "authenticated as joe"));
  CHECK(holds(text, "Try     postern queue release 3A15CA8E012\n"));
}

TEST_CASE("recipients with a time of their own are given up at another time") {
  Story story = deferred();
  story.recipients[0].lifetime = {864'000, "destination_queue_lifetime_maps"};
  SECTION("all of them") {
    const std::string text = print_story(story, kNow);
    INFO(text);
    CHECK(holds(text, "x@a.test  waits  gives up "));
    CHECK(holds(text, "(destination_queue_lifetime_maps 10 d)\n"));
    CHECK_FALSE(holds(text, "maximal_queue_lifetime"));
  }
  SECTION("some of them") {
    story.recipients[1].recipient.state = queuefile::State::kPending;
    const std::string text = print_story(story, kNow);
    INFO(text);
    CHECK(holds(text, "(destination_queue_lifetime_maps 10 d)\n"));
    CHECK(holds(text, "(maximal_queue_lifetime 5 d)\n"));
  }
  SECTION("a table that cannot be asked") {
    story.recipients[0].lifetime.is_unknown = true;
    const std::string text = print_story(story, kNow);
    INFO(text);
    CHECK(holds(text, "gives up when destination_queue_lifetime_maps says so\n"));
  }
  const auto json = nlohmann::json::parse(print_stories_json({story}));
  CHECK(json[0]["recipients"][0]["lifetime_parameter"] == "destination_queue_lifetime_maps");
}

TEST_CASE("TLS and verdicts on the sender are told, as far as they are our own") {
  constexpr std::string_view kHeader =
      "Authentication-Results: other.test; spf=fail\n"
      "Authentication-Results: mx.test;\n\tspf=pass smtp.mailfrom=s@b.test;\n\tdkim=none;\n"
      "\tdmarc=fail (p=none) header.from=b.test\n"
      "Authentication-Results: mx.test; arc=pass\nSubject: x\n";
  Story story = deferred();
  SECTION("nothing") {
    add_facts(story, kHeader, "mx.test");
    const std::string text = print_story(story, kNow);
    CHECK(holds(text, "  secrecy   none, it came in the clear\n"));
    CHECK_FALSE(holds(text, "verdicts"));
  }
  SECTION("all") {
    auto& attributes = story.envelope.attributes;
    attributes.emplace_back("received_secret", "yes");
    attributes.emplace_back("received_tls", "using TLSv1.3 with cipher X\x1b (256/256 bits)\nmore");
    attributes.emplace_back("mail_authentication", "7");
    add_facts(story, kHeader, "MX.test");
    const std::string text = print_story(story, kNow);
    INFO(text);
    CHECK(holds(text, "  secrecy   TLSv1.3 with cipher X? (256/256 bits)\n"));
    CHECK(holds(text, "  verdicts  SPF pass, DKIM none, DMARC fail\n"));
    const auto json = nlohmann::json::parse(print_stories_json({story}));
    CHECK(json[0]["tls"] == "TLSv1.3 with cipher X\x1b (256/256 bits)");
    CHECK(json[0]["verdicts"] ==
          nlohmann::json{{"spf", "pass"}, {"dkim", "none"}, {"dmarc", "fail"}});
  }
  SECTION("TLS without particulars") {
    story.envelope.attributes.emplace_back("received_secret", "yes");
    add_facts(story, {}, "mx.test");
    CHECK(holds(print_story(story, kNow), "  secrecy   TLS\n"));
  }
}

TEST_CASE("programs get the same story") {
  Story story = deferred();
  add_attempts(story, {reason(7, kNow - 90, kRefused)});
  const auto json = nlohmann::json::parse(print_stories_json({story}));
  REQUIRE(json.size() == 1);
  CHECK(json[0]["queue_id"] == "3A15CA8E012");
  CHECK(json[0]["next_attempt_time"] == kNow + 250);
  CHECK(json[0]["recipients"][0]["attempts"][0]["text"] == std::string(kRefused));
  CHECK(json[0]["recipients"][1]["state"] == "delivered");
  REQUIRE(json[0]["causes"].size() == 1);
  CHECK(json[0]["causes"][0]["cause"] == "refused");
  CHECK(json[0]["causes"][0]["try"][0] == "postern tls test '[mx.a.test]'");
}

}  // namespace postern::control
