// schedule.h - what is due when: the deferred messages, by the time of their next attempt.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/loop/loop.h"
#include "common/queuefile/queue_dir.h"

namespace postern::qmgr {

class Schedule {
 public:
  // Adds a message, or changes when it is due.
  void put(const std::string& id, queuefile::Queue queue, loop::TimePoint due);
  // Forgets a message; nothing happens if it is not there.
  void remove(const std::string& id);
  void make_due(const std::string& id, loop::TimePoint now);
  void make_all_due(loop::TimePoint now);

  struct Due {
    std::string id;
    queuefile::Queue queue;
  };
  // Takes the earliest message out if it is due.
  [[nodiscard]] std::optional<Due> take_due(loop::TimePoint now);
  // When take_due has something to give; kNever when there is nothing at all.
  [[nodiscard]] loop::TimePoint next() const;
  [[nodiscard]] bool contains(const std::string& id) const { return entries_.contains(id); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    loop::TimePoint due;
    queuefile::Queue queue;
  };
  // Exactly one place for each entry; the key of a node of the map does not move.
  struct Place {
    loop::TimePoint due;
    const std::string* id;
    bool operator>(const Place& other) const { return due > other.due; }
  };
  void push(const std::string& id, loop::TimePoint due);

  std::unordered_map<std::string, Entry> entries_;
  std::vector<Place> heap_;
};

}  // namespace postern::qmgr
