// tables_many.h - the same keys in each of several tables: what a restriction list asks of local
// tables about one client, sender or recipient.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/tables.h"

namespace postern::ipc::tables {

struct FoundOne {
  Found found;
  std::string error;  // not empty: this table could not be asked
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("found", self.found);
    field("error", self.error);
  }
};

struct FoundEach {
  std::vector<FoundOne> answers;  // in the order of the tables
  std::uint64_t generation = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("answers", self.answers);
    field("generation", self.generation);
  }
};

struct LookupEach {
  static constexpr std::uint16_t kType = 0x0208;
  static constexpr bool kRepeatable = true;
  using Reply = FoundEach;
  std::vector<std::string> tables;
  std::vector<Key> keys;  // as in Lookup
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("tables", self.tables);
    field("keys", self.keys);
  }
};

}  // namespace postern::ipc::tables
