// schedule.h - what is due when: the deferred messages, by the time of their next attempt.
//
// Those of one second lie together, unordered, until it is their turn; only those of the earliest
// second stand in a heap. So a message that comes is written to the end of a list, and one that
// goes is near others that went before it: with a million of them it is the cache that counts.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/loop/loop.h"
#include "common/queuefile/queue_dir.h"
#include "qmgr/id_table.h"

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
    entries_.for_each([&](Entries::Slot slot) {
      if (!entries_[slot].is_gone) call(std::string(entries_.id(slot)));
    });
  }

 private:
  struct Entry {
    loop::TimePoint due{};
    std::uint32_t places = 0;  // that point here
    queuefile::Queue queue{};
    bool is_gone = false;  // kept for its places alone
  };
  using Entries = IdTable<Entry>;
  // A place whose time is not its entry's any more is passed over when its turn comes: what changes
  // or goes costs as little as what comes.
  struct Place {
    loop::TimePoint due;
    Entries::Slot slot;
    std::uint32_t hash;  // the entry's: what is needed of it is asked for before its turn comes
    // The earliest is on top of a heap.
    friend bool operator<(const Place& a, const Place& b) { return a.due > b.due; }
  };
  using Second = std::int64_t;
  [[nodiscard]] static Second second_of(loop::TimePoint due);
  void add_place(Entries::Slot slot);
  void pop();
  // Asks memory for the entry of the first place.
  void look_ahead() const;
  // The first place is one that counts, or there is none.
  void pass_over();
  void rebuild();

  Entries entries_;
  using Places = std::vector<Place, WideAllocator<Place>>;
  Places first_;                    // a heap: all of one second, and what came late
  Second first_second_ = 0;         // nothing of it or before is in later_
  std::map<Second, Places> later_;  // as they came
  std::size_t places_ = 0;
  std::size_t size_ = 0;
};

}  // namespace postern::qmgr
