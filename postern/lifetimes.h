// lifetimes.h - how long mail may wait before it is returned, as qmgr will have it.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/values.h"
#include "common/table/table.h"

namespace postern::control {

struct Lifetime {
  std::int64_t seconds = 0;
  std::string parameter{};  // that says so
  // Its table cannot be asked, or says no time: the mail waits until it can.
  bool is_unknown = false;

  friend bool operator==(const Lifetime&, const Lifetime&) = default;
};

class Lifetimes {
 public:
  // Opens the tables of destination_queue_lifetime_maps with the rights of now; what cannot be
  // opened is said on standard error.
  explicit Lifetimes(const config::Values& values);

  // Of mail from this sender where nothing else is said.
  [[nodiscard]] Lifetime usual(std::string_view sender) const;
  [[nodiscard]] Lifetime of(std::string_view sender, std::string_view recipient);

 private:
  // The answer for a key; `is_parent` keys are not for patterns, which see the domain itself.
  [[nodiscard]] table::Found find(std::string_view key, bool is_parent);

  std::int64_t mail_ = 0;
  std::int64_t notice_ = 0;
  bool is_whole_ = true;
  std::vector<std::unique_ptr<table::Table>> tables_;
};

}  // namespace postern::control
