#include "qmgr/id_table.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <unordered_map>

namespace postern::qmgr {

TEST_CASE("a table of ids holds what was put there, whatever comes and goes") {
  std::mt19937 random(GENERATE(1U, 2U, 3U));
  const std::size_t names = GENERATE(3U, 100U, 5000U);
  IdTable<int> table;
  std::unordered_map<std::string, int> expected;
  for (int step = 0; step < 50'000; ++step) {
    const std::string id = "4D41B9" + std::to_string(random() % names);
    const auto known = expected.find(id);
    const auto slot = table.find(id);
    REQUIRE((slot == IdTable<int>::kNone) == (known == expected.end()));
    if (known != expected.end()) REQUIRE(table[slot] == known->second);
    if (random() % 2 == 0) {
      const auto added = table.find_or_add(id);
      if (known != expected.end()) REQUIRE(added == slot);
      table[added] = expected[id] = step;
    } else if (known != expected.end()) {
      table.erase(slot);
      expected.erase(known);
    }
    REQUIRE(table.size() == expected.size());
  }
  std::unordered_map<std::string, int> found;
  table.for_each(
      [&](IdTable<int>::Slot slot) { found[std::string(table.id(slot))] = table[slot]; });
  CHECK(found == expected);
}

TEST_CASE("an entry of a table of ids stays where it is, and a new one begins empty") {
  IdTable<std::string> table;
  const auto first = table.find_or_add("first");
  table[first] = "kept";
  const std::string* const place = &table[first];
  for (int i = 0; i < 10'000; ++i) (void)table.find_or_add(std::to_string(i));
  CHECK(&table[first] == place);
  CHECK(table[first] == "kept");
  table.erase(first);
  CHECK(table.find("first") == IdTable<std::string>::kNone);
  CHECK(table[table.find_or_add("first")].empty());
}

}  // namespace postern::qmgr
