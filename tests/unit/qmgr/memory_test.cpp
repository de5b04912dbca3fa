// What the scheduler keeps its things in: each of them against what the standard library does.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "qmgr/index_list.h"
#include "qmgr/message_table.h"
#include "qmgr/short_text.h"
#include "qmgr/slab.h"

namespace postern::qmgr {

TEST_CASE("a short text is the same text at each length, and when it is moved") {
  for (const std::size_t length : {0U, 1U, 22U, 23U, 24U, 25U, 300U}) {
    const std::string text(length, 'x');
    ShortText<24> made(text);
    CHECK(made.view() == text);
    CHECK(made.empty() == text.empty());
    ShortText<24> moved(std::move(made));
    CHECK(moved.view() == text);
    ShortText<24> assigned(std::string(40, 'y'));
    assigned = std::move(moved);
    CHECK(assigned.view() == text);
  }
}

TEST_CASE("a list of recipients gives the last ones away and loses those that are done") {
  for (const std::uint32_t size : {0U, 1U, 2U, 3U, 100U}) {
    std::vector<std::uint32_t> expected;
    for (std::uint32_t i = 0; i < size; ++i) expected.push_back(i);
    IndexList list(expected);
    CHECK(list.to_vector() == expected);
    for (const std::uint32_t taken : {0U, 1U, 60U}) {
      if (taken > expected.size()) continue;
      const auto rest = expected.end() - static_cast<std::ptrdiff_t>(taken);
      CHECK(list.take_back(taken).to_vector() == std::vector<std::uint32_t>(rest, expected.end()));
      expected.erase(rest, expected.end());
      CHECK(list.to_vector() == expected);
    }
    const auto is_odd = [](std::uint32_t index) { return index % 2 == 1; };
    list.remove_if(is_odd);
    std::erase_if(expected, is_odd);
    IndexList moved{7, 8, 9};
    moved = std::move(list);
    CHECK(moved.to_vector() == expected);
  }
}

TEST_CASE("a slab's things stay where they are, and their places are used again") {
  Slab<std::string> slab;
  std::vector<const std::string*> places;
  for (int i = 0; i < 5000; ++i) {
    const Slot slot = slab.add(std::to_string(i) + std::string(40, '.'));
    REQUIRE(slot == static_cast<Slot>(i));
    places.push_back(&slab[slot]);
  }
  for (Slot slot = 0; slot < 5000; slot += 2) slab.erase(slot);
  std::set<Slot> left;
  slab.for_each([&](Slot slot) { left.insert(slot); });
  CHECK(left.size() == 2500);
  for (const Slot slot : left) {
    REQUIRE(&slab[slot] == places[slot]);
    REQUIRE(slab[slot] == std::to_string(slot) + std::string(40, '.'));
  }
  // The one that went last comes first.
  CHECK(slab.add("again") == 4998);
  slab.for_each([&](Slot slot) { slab.erase(slot); });
  bool is_empty = true;
  slab.for_each([&](Slot /*slot*/) { is_empty = false; });
  CHECK(is_empty);
}

TEST_CASE("active messages are found by their id, and another of the same id takes the place") {
  MessageTable table;
  const auto add = [&](const std::string& id) {
    auto message = std::make_unique<Message>();
    message->id = id;
    table.add(std::move(message));
  };
  for (int i = 0; i < 1000; ++i) add("4D41B9" + std::to_string(i));
  CHECK(table.size() == 1000);
  for (int i = 0; i < 1000; ++i) {
    const std::string id = "4D41B9" + std::to_string(i);
    REQUIRE(table.find(id) != nullptr);
    REQUIRE(table.find(id)->id == id);
    if (i % 3 == 0) table.erase(*table.find(id));
    REQUIRE((table.find(id) == nullptr) == (i % 3 == 0));
  }
  CHECK(table.size() == 666);
  table.find("4D41B91")->size = 5;
  add("4D41B91");
  CHECK(table.size() == 666);
  CHECK(table.find("4D41B91")->size == 0);
  std::size_t count = 0;
  table.for_each([&](const Message& message) { count += table.find(message.id) == &message; });
  CHECK(count == 666);
}

}  // namespace postern::qmgr
