#include "anvil/quotas.h"

#include <fcntl.h>
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

namespace postern::anvil {

namespace {

using Verdict = ipc::anvil::QuotaVerdict;

constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::int64_t kMidnight = 20'000 * kDay;

struct Fixture {
  explicit Fixture(int directory = -1) : quotas(LineFile(directory, "quotas")) {}

  Verdict ask(std::int64_t per_hour, std::int64_t per_day, bool is_accepted_over = false,
              std::string sender = "login:a") {
    Result<void> kept;
    const auto verdict =
        quotas.count({std::move(sender), per_hour, per_day, is_accepted_over}, now, kept);
    CHECK(kept);
    return verdict;
  }

  Quotas quotas;
  std::int64_t now = kMidnight;
};

}  // namespace

TEST_CASE("a quota of an hour is whole again with the next hour, that of a day with the next day") {
  Fixture f;
  f.now += kHour - 1;
  CHECK(f.ask(2, 3) == Verdict::kWithin);
  CHECK(f.ask(2, 3) == Verdict::kWithin);
  CHECK(f.ask(2, 3) == Verdict::kOverHour);
  CHECK(f.ask(2, 3, false, "login:b") == Verdict::kWithin);
  f.now += 1;
  CHECK(f.ask(2, 3) == Verdict::kWithin);
  CHECK(f.ask(2, 3) == Verdict::kOverDay);
  f.now = kMidnight + kDay - 1;
  CHECK(f.ask(2, 3) == Verdict::kOverDay);
  f.now += 1;
  CHECK(f.ask(2, 3) == Verdict::kWithin);
}

TEST_CASE("a recipient over a quota counts where it is accepted") {
  Fixture f;
  CHECK(f.ask(1, 0) == Verdict::kWithin);
  CHECK(f.ask(1, 0) == Verdict::kOverHour);
  CHECK(f.ask(1, 2) == Verdict::kOverHour);
  CHECK(f.ask(1, 0, true) == Verdict::kOverHour);
  CHECK(f.ask(0, 2) == Verdict::kOverDay);
  CHECK(f.ask(0, 3) == Verdict::kWithin);
}

TEST_CASE("counts are kept over a restart, and damaged lines are skipped") {
  std::string name = (std::filesystem::temp_directory_path() / "quotas.XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  {
    const sys::Fd directory(::open(name.c_str(), O_RDONLY | O_DIRECTORY));
    {
      Fixture f(directory.get());
      CHECK(f.ask(2, 3, false, "sender:@a b=") == Verdict::kWithin);
      CHECK(f.ask(2, 3, false, "sender:@a b=") == Verdict::kWithin);
    }
    std::ofstream(name + "/quotas", std::ios::app)
        << "<x> 1 2 3\n<> 1 2 3 4\nx 480000 2 20000 2\n<y> 480000 -2 20000 2\n<z> 480000 1 2000";
    Fixture f(directory.get());
    REQUIRE(f.quotas.load(kMidnight));
    CHECK(f.quotas.senders() == 1);
    CHECK(f.ask(2, 3, false, "sender:@a b=") == Verdict::kOverHour);
    Fixture later(directory.get());
    REQUIRE(later.quotas.load(kMidnight + kDay));
    CHECK(later.quotas.senders() == 0);
  }
  std::filesystem::remove_all(name);
}

TEST_CASE("an administrator sees what counts now, page by page, and lets senders begin anew") {
  Fixture f;
  for (const char* sender : {"login:c", "login:a", "login:b"}) (void)f.ask(2, 9, false, sender);
  f.now += kHour;
  (void)f.ask(2, 9, false, "login:b");
  const auto first = f.quotas.list("", 2, f.now);
  REQUIRE(first.counts.size() == 2);
  CHECK(first.counts[0].sender == "login:a");
  CHECK(first.counts[0].in_hour == 0);
  CHECK(first.counts[0].in_day == 1);
  CHECK(first.counts[1].in_hour == 1);
  CHECK(first.counts[1].in_day == 2);
  CHECK(first.next == "login:b");
  const auto second = f.quotas.list(first.next, 2, f.now);
  REQUIRE(second.counts.size() == 1);
  CHECK(second.next.empty());
  CHECK(f.quotas.list("", 2, f.now + kDay).counts.empty());

  CHECK(f.quotas.reset("login:b").value());
  CHECK_FALSE(f.quotas.reset("login:b").value());
  CHECK(f.ask(1, 9, false, "login:b") == Verdict::kWithin);
  CHECK(f.quotas.reset("").value());
  CHECK(f.quotas.senders() == 0);
}

TEST_CASE("senders without end take no memory without end") {
  Fixture f;
  for (std::size_t i = 0; i < Quotas::kMaxSenders + 10; ++i) {
    Result<void> kept;
    (void)f.quotas.count({"login:" + std::to_string(i), 1, 1, false}, f.now, kept);
  }
  CHECK(f.quotas.senders() == Quotas::kMaxSenders);
  CHECK(f.ask(1, 1, false, "login:1") == Verdict::kOverDay);
  f.now += kDay;
  CHECK(f.ask(1, 1, false, "login:new") == Verdict::kWithin);
  CHECK(f.quotas.senders() == 1);
}

}  // namespace postern::anvil
