#include "verify/record.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "common/table/kept.h"

namespace postern::verify {

namespace {

Rules rules() {
  Rules r;
  r.positive_expire = std::chrono::seconds(1000);
  r.positive_refresh = std::chrono::seconds(500);
  r.negative_expire = std::chrono::seconds(100);
  r.negative_refresh = std::chrono::seconds(50);
  return r;
}

}  // namespace

TEST_CASE("records of addresses read back as they were written") {
  const Record record{Status::kBad, 5, 77, "host mx[192.0.2.1] said: 550 5.1.1 no: such user"};
  CHECK(parse_record(print_record(record)) == record);
}

TEST_CASE("what is no record is none") {
  const auto text =
      GENERATE(values<std::string_view>({"", "1", "1:2", "1:2:3", "x:1:2:t", "9:1:2:t", "1:-1:2:t",
                                         "-1:1:2:t", "1:1:99999999999999999999:t"}));
  INFO(text);
  CHECK_FALSE(parse_record(text).has_value());
}

TEST_CASE("an answer counts for its time, and is asked for again before that is over") {
  const Record good{Status::kGood, 0, 1000, ""};
  CHECK(is_valid(good, rules(), 1999));
  CHECK_FALSE(is_valid(good, rules(), 2000));
  CHECK_FALSE(is_probe_due(good, rules(), 1499));
  CHECK(is_probe_due(good, rules(), 1500));
  const Record bad{Status::kBad, 0, 1000, ""};
  CHECK_FALSE(is_valid(bad, rules(), 1100));
  CHECK(is_probe_due(bad, rules(), 1050));
  // One probe at a time, unless it was lost.
  CHECK_FALSE(is_probe_due({Status::kUnknown, 1000, 0, ""}, rules(), 1500));
  CHECK(is_probe_due({Status::kUnknown, 1000, 0, ""}, rules(), 2001));
}

TEST_CASE("a good address stays good when one probe fails") {
  const Record good{Status::kGood, 1500, 1000, "250 ok"};
  const Record kept = updated(good, Status::kUnsure, "timed out", rules(), 1600);
  CHECK(kept.status == Status::kGood);
  CHECK(kept.updated == 1000);
  CHECK(kept.probed == 0);
  // But not for ever.
  CHECK(updated(good, Status::kBad, "gone", rules(), 2500).status == Status::kBad);
  CHECK(updated({Status::kBad, 1, 1, "x"}, Status::kGood, "ok", rules(), 20).status ==
        Status::kGood);
}

TEST_CASE("the cache is still there for the next process, and loses what is old") {
  char directory[] = "/tmp/verify_test.XXXXXX";
  REQUIRE(::mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/cache.lmdb";
  {
    auto store = table::Kept::open(path);
    REQUIRE(store.has_value());
    store->put("a@example.org", "1:0:5:ok");
    store->put("b@example.org", "old");
    store->put(std::string(table::Kept::kMaxKey + 1, 'x'), "too long");
  }
  {
    auto store = table::Kept::open(path);
    REQUIRE(store.has_value());
    CHECK(store->find("a@example.org") == "1:0:5:ok");
    CHECK_FALSE(store->find(std::string(table::Kept::kMaxKey + 1, 'x')).has_value());
    std::string after;
    unsigned rounds = 0;
    while (auto last = store->clean(after, 1, [](std::string_view v) { return v == "old"; })) {
      after = *last;
      REQUIRE(++rounds < 10);
    }
    CHECK_FALSE(store->find("b@example.org").has_value());
    CHECK(store->find("a@example.org").has_value());
  }
  ::unlink(path.c_str());
  ::unlink((path + "-lock").c_str());
  ::rmdir(directory);
}

}  // namespace postern::verify
