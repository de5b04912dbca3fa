// entries.h - the entries of a table in the making: a million of them in one pass, with no
// allocation for each.
//
// Keys and values lie where they will be taken from to be stored: in the text of the source, which
// is changed in place for it, or in blocks of our own. Which keys are there already is found in a
// table of hashes, whose places are in no cache once it is large: so enqueue() asks for the memory
// of a place and looks at it some entries later.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace postern::table {

// How an entry's text becomes what is stored.
struct Spelling {
  bool fold_key = false;
  bool trailing_nul = false;  // behind key and value
};

class Entries {
 public:
  struct Entry {
    char* bytes = nullptr;  // the key; nullptr once erased
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint32_t value_at = 0;  // from the key on
    std::uint32_t hash = 0;
    [[nodiscard]] std::string_view key() const { return {bytes, key_size}; }
    [[nodiscard]] std::string_view value() const { return {bytes + value_at, value_size}; }
  };

  // Makes room for so many.
  void reserve(std::size_t count);
  // The text that keys and values may lie in, each with a byte behind it that is no part of
  // another. Its bytes stay where they are.
  void adopt(std::string text) { text_ = std::move(text); }
  [[nodiscard]] std::string_view text() const { return text_; }

  // Puts the entry in. The one that was there before, unless it is new; good until the next change.
  // Precondition: sizes fit into 30 bits.
  struct Added {
    Entry* before = nullptr;
    Entry entry;  // what was to be added: take_value() puts its value into `before`
  };
  [[nodiscard]] Added add(std::string_view key, std::string_view value, Spelling spelling);
  // The same, later: settles what was enqueued long enough ago and gives it.
  [[nodiscard]] Added enqueue(std::string_view key, std::string_view value, Spelling spelling);
  // Settles the oldest of those enqueued. Precondition: has_queued().
  [[nodiscard]] Added settle_next();
  [[nodiscard]] bool has_queued() const { return queued_ > 0; }

  // The keys are the same.
  static void take_value(Entry& before, const Entry& entry) {
    before.bytes = entry.bytes;
    before.value_at = entry.value_at;
    before.value_size = entry.value_size;
  }

  // False: there is none. Precondition of this and what follows: none is queued.
  bool erase(std::string_view stored_key);

  // Gives back what is only for adding and erasing, which end with it: its memory serves the cache
  // of the file that is then written.
  void seal() { slots_ = std::vector<Slot>(); }

  [[nodiscard]] std::size_t count() const { return entries_.size() - erased_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  // Calls `visit` with each until it returns false: as they came, or by key, as bytes.
  using Visit = std::function<bool(const Entry&)>;
  void visit_in_order(const Visit& visit) const;
  void visit_sorted(const Visit& visit) const;

 private:
  struct Slot {
    std::uint32_t index = 0;  // + 1 into entries_; 0: free
    std::uint32_t hash = 0;   // so that another entry need not be looked at
  };
  // How many entries later a place is looked at: more than memory takes, less than a cache holds.
  static constexpr std::size_t kAhead = 16;

  [[nodiscard]] std::size_t slot_of(std::string_view key, std::uint32_t hash) const;
  [[nodiscard]] bool is_in_text(std::string_view piece) const;
  [[nodiscard]] char* take_room(std::size_t size);
  [[nodiscard]] Entry store(std::string_view key, std::string_view value, Spelling spelling);
  [[nodiscard]] Added settle(const Entry& entry);
  void make_room(std::size_t slots);
  void place_all();
  void visit_after_sorting(const Visit& visit) const;

  std::string text_;
  std::vector<Entry> entries_;
  std::size_t erased_ = 0;
  std::vector<Slot> slots_;  // a power of two
  std::array<Entry, kAhead> queue_;
  std::size_t oldest_ = 0;
  std::size_t queued_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;
  std::size_t room_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace postern::table
