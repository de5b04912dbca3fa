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
  [[nodiscard]] bool contains(const std::string& id) const;
  // Where the message lies; nothing if it is not here.
  [[nodiscard]] std::optional<queuefile::Queue> queue_of(const std::string& id) const;
  [[nodiscard]] std::size_t size() const { return size_; }
  // All that is here, in no order.
  template <typename Call>
  void for_each_id(Call call) const {
    for (const auto& [id, entry] : entries_) {
      if (!entry.is_gone) call(id);
    }
  }

 private:
  struct Entry {
    loop::TimePoint due;
    std::uint32_t places = 0;  // of the heap that point here
    queuefile::Queue queue;
    bool is_gone = false;  // kept for its places alone
  };
  using Entries = std::unordered_map<std::string, Entry>;
  using Node = Entries::value_type;  // does not move
  // A place whose time is not its entry's any more is passed over when its turn comes: what changes
  // or goes costs as little as what comes, and nothing is written but the heap itself.
  struct Place {
    loop::TimePoint due;
    Node* node;
  };
  void push(Node& node);
  void pop();
  void move_down(std::size_t place);
  // The first place is one that counts, or there is none.
  void pass_over();
  void rebuild();

  Entries entries_;
  std::vector<Place> heap_;  // four children a node: they share a cache line
  std::size_t size_ = 0;
};

}  // namespace postern::qmgr
