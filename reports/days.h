// days.h - what was counted, by day and domain: in memory, and kept over a restart.
//
// Written some seconds after a change. What a crash loses is a few results of statistics.

#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "common/ipc/message.h"
#include "common/log/log.h"
#include "common/table/kept.h"

namespace postern::reports {

template <typename Record>
class Days {
 public:
  struct Key {
    std::string day;
    std::string domain;
    auto operator<=>(const Key&) const = default;
  };
  static constexpr std::size_t kMaxEntries = 50'000;

  // Records stand in the store under "PREFIX DAY DOMAIN".
  Days(std::string prefix, table::Kept& store) : prefix_(std::move(prefix)), store_(store) {}

  void load() {
    store_.visit(prefix_ + ' ',
                 [this](std::string_view name, std::string_view value) { take(name, value); });
  }

  // The record for a change; null where there is no room for another.
  [[nodiscard]] Record* change(const Key& key) {
    const auto known = records_.find(key);
    if (known == records_.end() && records_.size() >= kMaxEntries) return nullptr;
    dirty_.insert(key);
    return known == records_.end() ? &records_[key] : &known->second;
  }
  [[nodiscard]] const Record* find(const Key& key) const {
    const auto known = records_.find(key);
    return known == records_.end() ? nullptr : &known->second;
  }
  [[nodiscard]] const std::map<Key, Record>& all() const { return records_; }

  void remove(const Key& key) {
    store_.remove(name_of(key));
    dirty_.erase(key);
    records_.erase(key);
  }
  void write() {
    for (const auto& key : dirty_) store_.put(name_of(key), ipc::encode(records_[key]));
    dirty_.clear();
  }

 private:
  [[nodiscard]] std::string name_of(const Key& key) const {
    return prefix_ + ' ' + key.day + ' ' + key.domain;
  }
  void take(std::string_view name, std::string_view value) {
    name.remove_prefix(prefix_.size() + 1);
    const auto blank = name.find(' ');
    auto record = ipc::decode<Record>(value);
    if (blank == std::string_view::npos || !record || records_.size() >= kMaxEntries) return;
    records_[{std::string(name.substr(0, blank)), std::string(name.substr(blank + 1))}] =
        *std::move(record);
  }

  std::string prefix_;
  table::Kept& store_;
  std::map<Key, Record> records_;
  std::set<Key> dirty_;
};

}  // namespace postern::reports
