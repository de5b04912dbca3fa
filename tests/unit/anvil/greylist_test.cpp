#include "anvil/greylist.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <filesystem>

namespace postern::anvil {

namespace {

using Verdict = ipc::anvil::GreylistVerdict;

constexpr std::int64_t kDelay = 300;
constexpr std::int64_t kWindow = 172'800;
constexpr std::int64_t kLifetime = 3'024'000;
constexpr std::int64_t kStart = 1'800'000'000;

// A greylist with a clock that only the test moves.
struct Fixture {
  explicit Fixture(int directory = -1) : greylist(LineFile(directory, "greylist")) {}

  ipc::anvil::Greylisted ask(std::string client, std::string sender, std::string recipient,
                             std::int64_t auto_allow = 0) {
    Result<void> kept;
    const auto answer = greylist.judge({std::move(client), std::move(sender), std::move(recipient),
                                        kDelay, kWindow, kLifetime, auto_allow, false},
                                       now, kept);
    CHECK(kept);
    return answer;
  }
  Verdict verdict(std::string client, std::string sender, std::string recipient,
                  std::int64_t auto_allow = 0) {
    return ask(std::move(client), std::move(sender), std::move(recipient), auto_allow).verdict;
  }

  Greylist greylist;
  std::int64_t now = kStart;
};

}  // namespace

TEST_CASE("a triplet waits for the delay, passes within the window, and stays known") {
  Fixture f;
  CHECK(f.verdict("192.0.2.1", "a@x.test", "b@y.test") == Verdict::kNew);
  f.now += kDelay - 1;
  const auto early = f.ask("192.0.2.1", "a@x.test", "b@y.test");
  CHECK(early.verdict == Verdict::kEarly);
  CHECK(early.seconds == 1);
  f.now += 1;
  const auto delayed = f.ask("192.0.2.1", "a@x.test", "b@y.test");
  CHECK(delayed.verdict == Verdict::kDelayed);
  CHECK(delayed.seconds == kDelay);
  f.now += kLifetime - 1;
  CHECK(f.verdict("192.0.2.1", "a@x.test", "b@y.test") == Verdict::kKnown);
  // Its life counts from the last mail on.
  f.now += kLifetime - 1;
  CHECK(f.verdict("192.0.2.1", "a@x.test", "b@y.test") == Verdict::kKnown);
  f.now += kLifetime;
  CHECK(f.verdict("192.0.2.1", "a@x.test", "b@y.test") == Verdict::kNew);
}

TEST_CASE("who comes back after the window is new") {
  Fixture f;
  CHECK(f.verdict("192.0.2.1", "", "b@y.test") == Verdict::kNew);
  f.now += kWindow;
  CHECK(f.verdict("192.0.2.1", "", "b@y.test") == Verdict::kNew);
  f.now += kDelay;
  CHECK(f.verdict("192.0.2.1", "", "b@y.test") == Verdict::kDelayed);
}

TEST_CASE("what makes the same triplet") {
  struct Row {
    const char* what;
    const char* client;
    const char* sender;
    const char* recipient;
    bool is_same;
  };
  const Row rows[] = {
      {"a neighbour in the pool", "192.0.2.250", "list+1-b@x.test", "b@y.test", true},
      {"another network", "192.0.3.1", "list+1-b@x.test", "b@y.test", false},
      {"another extension", "192.0.2.1", "list+2-c@x.test", "b@y.test", true},
      {"other case", "192.0.2.1", "LIST@X.test", "B@Y.TEST", true},
      {"another sender", "192.0.2.1", "news@x.test", "b@y.test", false},
      {"another recipient", "192.0.2.1", "list+1-b@x.test", "c@y.test", false},
      {"no sender", "192.0.2.1", "", "b@y.test", false},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Fixture f;
    CHECK(f.verdict("192.0.2.1", "list+1-b@x.test", "b@y.test") == Verdict::kNew);
    f.now += kDelay;
    CHECK(f.verdict(row.client, row.sender, row.recipient) ==
          (row.is_same ? Verdict::kDelayed : Verdict::kNew));
  }
}

TEST_CASE("numbers in a sender do not count, and IPv6 networks are /64") {
  Fixture f;
  CHECK(f.verdict("2001:db8::1", "bounce-1234@x.test", "b@y.test") == Verdict::kNew);
  f.now += kDelay;
  CHECK(f.verdict("2001:db8::ffff:1", "bounce-99@x.test", "b@y.test") == Verdict::kDelayed);
  CHECK(f.verdict("2001:db8:0:1::1", "bounce-99@x.test", "b@y.test") == Verdict::kNew);
}

TEST_CASE("a network that has passed often enough waits no more, one pass an hour counts") {
  Fixture f;
  for (int i = 0; i < 3; ++i) {
    const std::string to = std::string(1, static_cast<char>('a' + i)) + "@y.test";
    CHECK(f.verdict("192.0.2.1", "s@x.test", to, 2) == Verdict::kNew);
    f.now += kDelay;
    CHECK(f.verdict("192.0.2.1", "s@x.test", to, 2) == Verdict::kDelayed);
  }
  CHECK(f.verdict("192.0.2.9", "t@x.test", "d@y.test", 2) == Verdict::kNew);
  f.now += 3600;
  CHECK(f.verdict("192.0.2.9", "t@x.test", "d@y.test", 2) == Verdict::kDelayed);
  CHECK(f.verdict("192.0.2.9", "u@x.test", "e@y.test", 2) == Verdict::kAutoAllowed);
  CHECK(f.verdict("192.0.2.9", "v@x.test", "e@y.test", 0) == Verdict::kNew);
  f.now += kLifetime;
  CHECK(f.verdict("192.0.2.9", "u@x.test", "e@y.test", 2) == Verdict::kNew);
}

TEST_CASE("the administrator's word counts at once, and can be taken back") {
  Fixture f;
  CHECK(f.greylist.allow("192.0.2.77", f.now) == "192.0.2.0");
  CHECK_FALSE(f.greylist.allow("mail.x.test", f.now));
  CHECK(f.verdict("192.0.2.1", "s@x.test", "a@y.test") == Verdict::kAllowed);
  CHECK(f.greylist.list("", 10, f.now).entries.at(0).has_passed);
  CHECK(f.greylist.disallow("192.0.2.1") == "192.0.2.0");
  CHECK_FALSE(f.greylist.disallow("192.0.2.1"));
  CHECK(f.verdict("192.0.2.1", "s@x.test", "a@y.test") == Verdict::kNew);
}

TEST_CASE("a question that is asked only leaves nothing behind") {
  Fixture f;
  Result<void> kept;
  ipc::anvil::Greylist question{"192.0.2.1", "s@x.test", "a@y.test", kDelay,
                                kWindow,     kLifetime,  1,          false};
  question.is_asked_only = true;
  CHECK(f.greylist.judge(question, f.now, kept).verdict == Verdict::kNew);
  CHECK(f.greylist.statistics(f.now).waiting == 0);
  CHECK(f.verdict("192.0.2.1", "s@x.test", "a@y.test") == Verdict::kNew);
  f.now += kDelay;
  CHECK(f.greylist.judge(question, f.now, kept).verdict == Verdict::kDelayed);
  CHECK(f.greylist.statistics(f.now).known == 0);
  CHECK(f.greylist.statistics(f.now).networks == 0);
}

TEST_CASE("what is no address waits for ever") {
  Fixture f;
  CHECK(f.verdict("unknown", "s@x.test", "a@y.test") == Verdict::kNew);
  f.now += kDelay;
  CHECK(f.verdict("unknown", "s@x.test", "a@y.test") == Verdict::kNew);
}

TEST_CASE("the list comes in pages, in order, each entry once") {
  Fixture f;
  for (int i = 0; i < 25; ++i) {
    const std::string to = std::string(1, static_cast<char>('a' + i)) + "@y.test";
    CHECK(f.verdict("192.0.2.1", "s@x.test", to) == Verdict::kNew);
  }
  std::string after;
  std::size_t seen = 0;
  unsigned pages = 0;
  do {
    const auto page = f.greylist.list(after, 10, f.now);
    seen += page.entries.size();
    if (seen == page.entries.size()) CHECK(page.entries.at(0).recipient == "a@y.test");
    after = page.next;
    ++pages;
  } while (!after.empty());
  CHECK(seen == 25);
  CHECK(pages == 3);
  CHECK(f.greylist.statistics(f.now).waiting == 25);
  CHECK(f.greylist.statistics(f.now).greylisted == 25);
  CHECK(f.greylist.statistics(f.now + kWindow).waiting == 0);
}

TEST_CASE("a greylist is kept over a restart, rubbish in its file is not") {
  char name[] = "/tmp/greylist-test-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  const int directory = ::open(name, O_RDONLY | O_DIRECTORY);
  REQUIRE(directory >= 0);
  {
    Fixture f(directory);
    CHECK(f.verdict("192.0.2.1", "\"a b\"@x.test", "b@y.test") == Verdict::kNew);
    CHECK(f.verdict("198.51.100.1", "gone@x.test", "b@y.test") == Verdict::kNew);
    CHECK(f.greylist.allow("203.0.113.5", f.now) == "203.0.113.0");
  }
  LineFile file(directory, "greylist");
  REQUIRE(file.append("triplet 192.0.2.0 <a>"));
  REQUIRE(file.append("network nonsense 1 2 3 4"));
  REQUIRE(file.append("triplet 192.0.2.0 <z@x.test> <b@y.test> x y 1"));
  {
    Fixture f(directory);
    f.now += kDelay;
    REQUIRE(f.greylist.load(f.now));
    CHECK(f.greylist.list("", 10, f.now).entries.size() == 3);
    CHECK(f.verdict("192.0.2.1", "\"a b\"@x.test", "b@y.test") == Verdict::kDelayed);
    CHECK(f.verdict("192.0.2.1", "z@x.test", "b@y.test") == Verdict::kNew);
    CHECK(f.verdict("203.0.113.1", "z@x.test", "b@y.test") == Verdict::kAllowed);
    f.now += kWindow;
    REQUIRE(f.greylist.clean(f.now));
    CHECK(f.greylist.statistics(f.now).waiting == 0);
    CHECK(f.greylist.statistics(f.now).known == 1);
  }
  ::close(directory);
  std::filesystem::remove_all(name);
}

}  // namespace postern::anvil
