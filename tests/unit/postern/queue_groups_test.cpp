#include "postern/queue_groups.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace postern::control {

namespace {

constexpr std::int64_t kNow = 1'000'000;

queuefile::ListedMessage message(std::string queue, std::string sender, std::int64_t age,
                                 std::int64_t next,
                                 std::vector<queuefile::ListedRecipient> recipients) {
  queuefile::ListedMessage out;
  out.queue_name = std::move(queue);
  out.queue_id = "3A1";
  out.arrival_time = kNow - age;
  out.size = 500;
  out.sender = std::move(sender);
  out.recipients = std::move(recipients);
  out.next_attempt = next;
  return out;
}

const std::vector<queuefile::ListedMessage> kMessages = {
    message("deferred", "a@s.test", 7800, kNow + 60,
            {{"x@one.test", "connect to mx.one.test[192.0.2.1]:25: Connection refused"},
             {"y@One.test", "connect to mx.one.test[192.0.2.2]:25: Connection refused"}}),
    message("deferred", "A@s.test", 100, kNow - 5,
            {{"x@one.test",
              "delivery temporarily suspended: connect to mx.one.test[192.0.2.1]:25: Connection "
              "refused"},
             {"x@two.test", "host mx.two.test[192.0.2.9] said: 450 4.2.0 later"}}),
    message("hold", "", 10, 0, {{"x@two.test", ""}}),
    message("incoming", "b@s.test", 0, 0, {{"local", ""}})};

}  // namespace

TEST_CASE("reasons are alike when they differ in addresses and ids only") {
  struct Case {
    std::string_view reason, group;
  };
  const auto [reason, group] = GENERATE(values<Case>({
      {"", ""},
      {"connect to a.test[192.0.2.1]:25: Connection refused",
       "connect to a.test:25: Connection refused"},
      {"connect to a.test[2001:db8::1]:25: timed out", "connect to a.test:25: timed out"},
      {"delivery temporarily suspended: lost connection with a.test[192.0.2.1] while sending",
       "lost connection with a.test while sending"},
      {"host a.test[192.0.2.1] said: 421 4.7.28 too fast (1722ab34cd5e-12)",
       "host a.test said: 421 4.7.28 too fast *"},
      {"an [odd text", "an [odd text"},
      {"[one] two[] three[a b]", "[one] two[] three[a b]"},
  }));
  CHECK(reason_group(reason) == group);
}

TEST_CASE("a message counts once in each group of its recipients") {
  const auto reasons = group_messages(GroupBy::kReason, kMessages);
  REQUIRE(reasons.groups.size() == 4);
  CHECK(reasons.groups[0] == QueueGroup{"connect to mx.one.test:25: Connection refused", 2, 1000,
                                        kNow - 7800, kNow - 5});
  CHECK(reasons.groups[1].name == "host mx.two.test said: 450 4.2.0 later");
  CHECK(reasons.groups[2].name == "just arrived");
  CHECK(reasons.groups[3] == QueueGroup{"on hold", 1, 500, kNow - 10, 0});
  CHECK(reasons.total == QueueGroup{"", 4, 2000, kNow - 7800, kNow - 5});

  const auto domains = group_messages(GroupBy::kDomain, kMessages);
  REQUIRE(domains.groups.size() == 3);
  CHECK(domains.groups[0].name == "one.test");
  CHECK(domains.groups[1].name == "two.test");
  CHECK(domains.groups[2].name == "(no domain)");

  const auto senders = group_messages(GroupBy::kSender, kMessages);
  REQUIRE(senders.groups.size() == 3);
  CHECK(senders.groups[0].name == "a@s.test");
  CHECK(senders.groups[1].name == "<>");
}

TEST_CASE("groups are printed with totals above them, and never with control characters") {
  CHECK(print_groups({}, kNow) == "0 messages\n");
  CHECK(print_groups(group_messages(GroupBy::kDomain, kMessages), kNow) ==
        "4 messages, 2000 bytes, oldest 2 h 10 min, next now\n"
        "     2  one.test     oldest 2 h 10 min  next now\n"
        "     2  two.test     oldest 100 s  next now\n"
        "     1  (no domain)  oldest 0 s  next -\n");
  const auto odd = group_messages(
      GroupBy::kReason, {message("deferred", "", 0, 0, {{"x@y.test", "red \x1b[31mtext"}})});
  CHECK(print_groups(odd, kNow).find('\x1b') == std::string::npos);
  const auto json = nlohmann::json::parse(
      print_groups_json(GroupBy::kSender, group_messages(GroupBy::kSender, kMessages)));
  CHECK(json["group_by"] == "sender");
  CHECK(json["total"]["messages"] == 4);
  CHECK(json["groups"][0]["name"] == "a@s.test");
  CHECK(json["groups"][0]["next_attempt_time"] == kNow - 5);
  CHECK(!json["groups"][1].contains("next_attempt_time"));
}

TEST_CASE("spans and sizes are told in units that a person reads") {
  CHECK(span_text(-5) == "0 s");
  CHECK(span_text(119) == "119 s");
  CHECK(span_text(120) == "2 min");
  CHECK(span_text(7800) == "2 h 10 min");
  CHECK(span_text(172'800) == "2 d");
  CHECK(span_text(432'000 - 3600) == "4 d 23 h");
  CHECK(size_text(442) == "442 bytes");
  CHECK(size_text(3'100'000) == "3.1 MB");
}

}  // namespace postern::control
