#include "common/table/entries.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "common/base/text.h"
#include "common/table/key_order.h"

namespace postern::table {

namespace {

constexpr std::size_t kSmallBlock = std::size_t{64} << 10U;
constexpr std::size_t kLargeBlock = std::size_t{32} << 20U;
// A source in so few pieces, each of them in order, is merged: files are often sorted already, or
// were written by programs that count.
constexpr std::size_t kMaxRuns = 64;

using Entry = Entries::Entry;

std::uint32_t hash_of(std::string_view key) {
  const std::uint64_t hash = std::hash<std::string_view>{}(key);
  return static_cast<std::uint32_t>(hash ^ (hash >> 32U));
}

// An entry that is to be sorted.
struct Item {
  explicit Item(const Entry& of) : prefix(of.key()), entry(&of) {}
  KeyPrefix prefix;
  const Entry* entry;

  friend bool operator<(const Item& a, const Item& b) {
    const int order = a.prefix.compare(b.prefix);
    return order != 0 ? order < 0 : a.entry->key() < b.entry->key();
  }
};

// A run of entries that are in order.
class Run {
 public:
  Run(const Entry* first, const Entry* end) : item_(*first), end_(end) {}
  [[nodiscard]] const Item& item() const { return item_; }
  // False at its end.
  [[nodiscard]] bool advance() {
    const Entry* next = item_.entry + 1;
    while (next != end_ && next->bytes == nullptr) ++next;
    if (next == end_) return false;
    item_ = Item(*next);
    return true;
  }

 private:
  Item item_;
  const Entry* end_;
};

bool is_later(const Run& a, const Run& b) { return b.item() < a.item(); }

// Nothing when there are too many.
std::optional<std::vector<Run>> find_runs(const std::vector<Entry>& entries) {
  std::vector<Run> runs;
  const Entry* first = nullptr;
  const Entry* last = nullptr;
  for (const Entry& entry : entries) {
    if (entry.bytes == nullptr) continue;
    if (first == nullptr) first = &entry;
    if (last != nullptr && entry.key() < last->key()) {
      if (runs.size() + 1 == kMaxRuns) return std::nullopt;
      runs.emplace_back(first, &entry);
      first = &entry;
    }
    last = &entry;
  }
  if (first != nullptr) runs.emplace_back(first, entries.data() + entries.size());
  return runs;
}

// Puts the first of a heap where it belongs, when its item has grown.
void sink_first(std::vector<Run>& heap) {
  std::size_t at = 0;
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= heap.size()) return;
    if (child + 1 < heap.size() && is_later(heap[child], heap[child + 1])) ++child;
    if (!is_later(heap[at], heap[child])) return;
    std::swap(heap[at], heap[child]);
    at = child;
  }
}

}  // namespace

void Entries::reserve(std::size_t count) {
  constexpr std::size_t kMost = std::size_t{1} << 25U;
  const std::size_t room = std::min(count, kMost);
  entries_.reserve(room);
  const std::size_t slots = std::bit_ceil(room * 2 + 2);
  if (slots > slots_.size()) make_room(slots);
}

void Entries::make_room(std::size_t slots) {
  slots_.assign(slots, {});
  place_all();
}

// The keys differ: none is looked at.
void Entries::place_all() {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].bytes == nullptr) continue;
    std::size_t slot = entries_[i].hash & mask;
    while (slots_[slot].index != 0) slot = (slot + 1) & mask;
    slots_[slot] = {static_cast<std::uint32_t>(i + 1), entries_[i].hash};
  }
}

// Where the key is, or the free place where it belongs.
std::size_t Entries::slot_of(std::string_view key, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    if (slots_[slot].index == 0) return slot;
    if (slots_[slot].hash != hash) continue;
    const Entry& entry = entries_[slots_[slot].index - 1];
    if (entry.bytes != nullptr && entry.key() == key) return slot;
  }
}

bool Entries::is_in_text(std::string_view piece) const {
  const std::less_equal<const char*> is_not_behind;
  return is_not_behind(text_.data(), piece.data()) &&
         is_not_behind(piece.data() + piece.size(), text_.data() + text_.size());
}

char* Entries::take_room(std::size_t size) {
  if (size > room_) {
    // Small tables are the rule.
    room_ = std::max(blocks_.empty() ? kSmallBlock : kLargeBlock, size);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(room_));
    next_ = blocks_.back().get();
  }
  char* const taken = next_;
  next_ += size;
  room_ -= size;
  return taken;
}

Entries::Entry Entries::store(std::string_view key, std::string_view value, Spelling spelling) {
  const std::uint32_t nul = spelling.trailing_nul ? 1 : 0;
  Entry entry;
  entry.key_size = static_cast<std::uint32_t>(key.size()) + nul;
  entry.value_size = static_cast<std::uint32_t>(value.size()) + nul;
  if (is_in_text(key) && is_in_text(value) && key.data() + key.size() < value.data()) {
    entry.bytes = text_.data() + (key.data() - text_.data());
    entry.value_at = static_cast<std::uint32_t>(value.data() - key.data());
  } else {
    entry.bytes = take_room(entry.key_size + std::size_t{entry.value_size});
    entry.value_at = entry.key_size;
    std::ranges::copy(key, entry.bytes);
    std::ranges::copy(value, entry.bytes + entry.value_at);
  }
  if (spelling.fold_key) {
    for (std::size_t i = 0; i < key.size(); ++i) entry.bytes[i] = to_lower(entry.bytes[i]);
  }
  if (nul != 0) {
    entry.bytes[key.size()] = '\0';
    entry.bytes[entry.value_at + value.size()] = '\0';
  }
  bytes_ += entry.key_size + std::size_t{entry.value_size};
  entry.hash = hash_of(entry.key());
  return entry;
}

Entries::Added Entries::settle(const Entry& entry) {
  if ((entries_.size() + 1) * 2 > slots_.size()) {
    make_room(std::max<std::size_t>(slots_.size() * 4, 1024));
  }
  Slot& slot = slots_[slot_of(entry.key(), entry.hash)];
  if (slot.index != 0) return {&entries_[slot.index - 1], entry};
  entries_.push_back(entry);
  slot = {static_cast<std::uint32_t>(entries_.size()), entry.hash};
  return {nullptr, entry};
}

Entries::Added Entries::add(std::string_view key, std::string_view value, Spelling spelling) {
  return settle(store(key, value, spelling));
}

Entries::Added Entries::enqueue(std::string_view key, std::string_view value, Spelling spelling) {
  const Entry entry = store(key, value, spelling);
  if (!slots_.empty()) __builtin_prefetch(&slots_[entry.hash & (slots_.size() - 1)], 1);
  Added settled;
  if (queued_ == kAhead) settled = settle_next();
  queue_[(oldest_ + queued_) % kAhead] = entry;
  ++queued_;
  return settled;
}

Entries::Added Entries::settle_next() {
  const Entry entry = queue_[oldest_];
  oldest_ = (oldest_ + 1) % kAhead;
  --queued_;
  return settle(entry);
}

bool Entries::erase(std::string_view stored_key) {
  if (slots_.empty()) return false;
  const std::uint32_t index = slots_[slot_of(stored_key, hash_of(stored_key))].index;
  if (index == 0) return false;
  // Its place stays taken: others were put behind it.
  entries_[index - 1].bytes = nullptr;
  ++erased_;
  return true;
}

void Entries::visit_in_order(const Visit& visit) const {
  for (const Entry& entry : entries_) {
    if (entry.bytes != nullptr && !visit(entry)) return;
  }
}

void Entries::visit_sorted(const Visit& visit) const {
  auto runs = find_runs(entries_);
  if (!runs) return visit_after_sorting(visit);
  std::vector<Run>& heap = *runs;
  std::ranges::make_heap(heap, is_later);
  while (!heap.empty()) {
    if (!visit(*heap.front().item().entry)) return;
    if (!heap.front().advance()) {
      heap.front() = heap.back();
      heap.pop_back();
    }
    sink_first(heap);
  }
}

void Entries::visit_after_sorting(const Visit& visit) const {
  std::vector<Item> items;
  items.reserve(count());
  for (const Entry& entry : entries_) {
    if (entry.bytes != nullptr) items.emplace_back(entry);
  }
  std::sort(items.begin(), items.end());
  // Neither entries nor texts lie in the order of the keys.
  constexpr std::size_t kAheadOfText = 8;
  constexpr std::size_t kAheadOfEntry = 2 * kAheadOfText;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i + kAheadOfEntry < items.size()) {
      __builtin_prefetch(items[i + kAheadOfEntry].entry);
      __builtin_prefetch(items[i + kAheadOfText].entry->bytes);
    }
    if (!visit(*items[i].entry)) return;
  }
}

}  // namespace postern::table
