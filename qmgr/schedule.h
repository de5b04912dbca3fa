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
    std::uint32_t place = 0;  // in the heap
    queuefile::Queue queue;
  };
  using Entries = std::unordered_map<std::string, Entry>;
  // A binary heap of the map's nodes, which do not move, by when they are due. Each node knows its
  // place: an entry that changes or goes costs as little as one that comes.
  using Node = Entries::value_type;
  void set(std::size_t place, Node* node);
  void move_up(std::size_t place);
  void move_down(std::size_t place);
  void take_out(std::size_t place);

  Entries entries_;
  std::vector<Node*> heap_;
};

}  // namespace postern::qmgr
