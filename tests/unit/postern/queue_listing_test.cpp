#include "postern/queue_listing.h"

#include <catch2/catch.hpp>

#include "postern/config_verbs.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

constexpr std::int64_t kNow = 1'000'000;

queuefile::ListedMessage message(std::string sender, std::vector<std::string> recipients,
                                 std::int64_t age, std::uint64_t size = 100,
                                 std::string reason = "") {
  queuefile::ListedMessage out;
  out.queue_name = "deferred";
  out.queue_id = "3A1";
  out.arrival_time = kNow - age;
  out.size = size;
  out.sender = std::move(sender);
  for (auto& address : recipients) out.recipients.push_back({std::move(address), reason});
  return out;
}

}  // namespace

TEST_CASE("a filter picks what fits all that it says") {
  const auto one = message("joe@example.org", {"a@x.test", "b@Y.test"}, 3600, 5000,
                           "connect to x.test: Connection timed out");
  struct Case {
    QueueFilter filter;
    bool is_match;
  };
  std::vector<Case> cases(14);
  cases[0] = {{}, true};
  cases[1].filter.sender = "JOE@example.org", cases[1].is_match = true;
  cases[2].filter.sender = "*@example.org", cases[2].is_match = true;
  cases[3].filter.sender = "<>", cases[3].is_match = false;
  cases[4].filter.domain = "y.test", cases[4].is_match = true;
  cases[5].filter.domain = "z.test", cases[5].is_match = false;
  cases[6].filter.reason = "TIMED OUT", cases[6].is_match = true;
  cases[7].filter.older = std::chrono::seconds(3600), cases[7].is_match = true;
  cases[8].filter.older = std::chrono::seconds(3601), cases[8].is_match = false;
  cases[9].filter.younger = std::chrono::seconds(3601), cases[9].is_match = true;
  cases[10].filter.larger = 5001, cases[10].is_match = false;
  cases[11].filter.smaller = 5001, cases[11].is_match = true;
  cases[12].filter.queue = "hold", cases[12].is_match = false;
  cases[13].filter.ids = {"3A1"}, cases[13].is_match = true;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    INFO("case " << i);
    CHECK(matches(cases[i].filter, one, kNow) == cases[i].is_match);
    CHECK(cases[i].filter.is_empty() == (i == 0));
  }
}

TEST_CASE("qshape counts recipients by domain and age, and fills a line of 80 columns") {
  const std::vector<queuefile::ListedMessage> messages = {
      message("a@s.test", {"x@one.test", "y@one.test"}, 10), message("", {"x@two.test"}, 301),
      message("a@s.test", {"x@one.test"}, 1'000'000 - 1)};
  CHECK(print_shape({}, messages, kNow) ==
        "                                         T  5 10 20 40 80 160 320 640 1280 1280+\n"
        "                                  TOTAL  4  2  1  0  0  0   0   0   0    0     1\n"
        "                               one.test  3  2  0  0  0  0   0   0   0    0     1\n"
        "                               two.test  1  0  1  0  0  0   0   0   0    0     0\n");
  Shape senders;
  senders.by_sender = true;
  senders.buckets = 2;
  senders.width = 40;
  CHECK(print_shape(senders, messages, kNow) ==
        "                                 T  5 5+\n"
        "                          TOTAL  3  1  2\n"
        "                         s.test  2  1  1\n"
        "                  MAILER-DAEMON  1  0  1\n");
}

TEST_CASE("parents count the names right below them, and long names lose their front") {
  std::vector<queuefile::ListedMessage> messages(1);
  messages[0].arrival_time = kNow;
  for (const char* const address :
       {"x@a.b.c.test", "x@d.b.c.test", "x@D.b..c.test.", "x@e.c.test", "alone"}) {
    messages[0].recipients.push_back({address, ""});
  }
  Shape shape;
  shape.with_parents = true;
  shape.min_subdomains = 2;
  shape.buckets = 1;
  shape.width = 26;
  CHECK(print_shape(shape, messages, kNow) ==
        "                      T 5+\n"
        "               TOTAL  5  5\n"
        "             .c.test  4  4\n"
        "           .b.c.test  3  3\n"
        "          d.b.c.test  2  2\n"
        "               alone  1  1\n"
        "            e.c.test  1  1\n"
        "          a.b.c.test  1  1\n");
  messages[0].recipients = {{"x@a-name-that-is-too-long.test", ""},
                            {"x@b.parent-that-is-too-long.test", ""},
                            {"x@c.parent-that-is-too-long.test", ""}};
  CHECK(print_shape(shape, messages, kNow) ==
        "                      T 5+\n"
        "               TOTAL  3  3\n"
        ".+t-is-too-long.test  2  2\n"
        "+at-is-too-long.test  1  1\n"
        "+at-is-too-long.test  1  1\n"
        "+at-is-too-long.test  1  1\n");
}

TEST_CASE("a configuration gets the services it lacks, once") {
  std::vector<std::string> added;
  const std::string text = "smtp inet n - n - - smtpd\npickup fifo n - n 60 1 pickup\n";
  const std::string more = with_missing_services(text, added);
  CHECK(more.starts_with(text));
  CHECK(std::ranges::find(added, "proxymap") != added.end());
  CHECK(std::ranges::find(added, "pickup") == added.end());
  CHECK(std::ranges::find(added, "smtp") != added.end());
  added.clear();
  CHECK(with_missing_services(more, added) == more);
  CHECK(added.empty());
}

TEST_CASE("a change is shown by the lines that went and came") {
  CHECK(line_difference("a\nb\nc\n", "a\nx\nc\n", false) == "-b\n+x\n");
  CHECK(line_difference("a\n", "a\nb\n", false) == "+b\n");
  CHECK(line_difference("a\n", "a\n", false).empty());
}

}  // namespace postern::control
