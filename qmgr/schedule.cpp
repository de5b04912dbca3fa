#include "qmgr/schedule.h"

#include <algorithm>
#include <limits>

namespace postern::qmgr {

Schedule::Second Schedule::second_of(loop::TimePoint due) {
  return std::chrono::floor<std::chrono::seconds>(due.time_since_epoch()).count();
}

void Schedule::add_place(Entries::Slot slot) {
  Entry& entry = entries_[slot];
  ++entry.places;
  ++places_;
  const Place added{entry.due, slot, entries_.hash(slot)};
  const Second second = second_of(entry.due);
  if (second > first_second_) {
    later_[second].push_back(added);
    return;
  }
  first_.push_back(added);
  std::push_heap(first_.begin(), first_.end());
}

void Schedule::pop() {
  --entries_[first_.front().slot].places;
  --places_;
  std::pop_heap(first_.begin(), first_.end());
  first_.pop_back();
  look_ahead();
}

void Schedule::look_ahead() const {
  // Below the top of the heap: one of the two is the next but one.
  for (std::size_t i = 1; i <= 2 && i < first_.size(); ++i) {
    entries_.prefetch(first_[i].slot, first_[i].hash);
  }
}

void Schedule::pass_over() {
  for (;;) {
    if (first_.empty()) {
      if (later_.empty()) {
        first_second_ = std::numeric_limits<Second>::min();
        return;
      }
      const auto earliest = later_.begin();
      first_second_ = earliest->first;
      first_ = std::move(earliest->second);
      later_.erase(earliest);
      std::make_heap(first_.begin(), first_.end());
      look_ahead();
    }
    const Place first = first_.front();
    const Entry& entry = entries_[first.slot];
    if (!entry.is_gone && entry.due == first.due) return;
    pop();
    if (entry.is_gone && entry.places == 0) entries_.erase(first.slot);
  }
}

void Schedule::rebuild() {
  first_.clear();
  later_.clear();
  first_second_ = std::numeric_limits<Second>::min();
  places_ = 0;
  std::vector<Entries::Slot> gone;
  entries_.for_each([&](Entries::Slot slot) {
    if (entries_[slot].is_gone) return gone.push_back(slot);
    entries_[slot].places = 0;
    add_place(slot);
  });
  for (const Entries::Slot slot : gone) entries_.erase(slot);
  pass_over();
}

void Schedule::put(const std::string& id, queuefile::Queue queue, loop::TimePoint due) {
  const Entries::Slot slot = entries_.find_or_add(id);
  Entry& entry = entries_[slot];
  if (entry.places == 0 || entry.is_gone) ++size_;
  entry.due = due;
  entry.queue = queue;
  entry.is_gone = false;
  add_place(slot);
  pass_over();
  // Mostly what counts.
  constexpr std::size_t kFew = 64;
  if (places_ > 2 * size_ + kFew) rebuild();
}

void Schedule::remove(const std::string& id) {
  const Entries::Slot slot = entries_.find(id);
  if (slot == Entries::kNone || entries_[slot].is_gone) return;
  entries_[slot].is_gone = true;
  --size_;
  pass_over();
}

bool Schedule::contains(const std::string& id) const { return queue_of(id).has_value(); }

std::optional<queuefile::Queue> Schedule::queue_of(const std::string& id) const {
  const Entries::Slot slot = entries_.find(id);
  if (slot == Entries::kNone || entries_[slot].is_gone) return std::nullopt;
  return entries_[slot].queue;
}

void Schedule::make_due(const std::string& id, loop::TimePoint now) {
  const Entries::Slot slot = entries_.find(id);
  if (slot == Entries::kNone || entries_[slot].is_gone || entries_[slot].due <= now) return;
  put(id, entries_[slot].queue, now);
}

void Schedule::make_all_due(loop::TimePoint now) {
  entries_.for_each(
      [&](Entries::Slot slot) { entries_[slot].due = std::min(entries_[slot].due, now); });
  rebuild();
}

std::optional<Schedule::Due> Schedule::take_due(loop::TimePoint now) {
  if (first_.empty() || first_.front().due > now) return std::nullopt;
  const Entries::Slot slot = first_.front().slot;
  Entry& entry = entries_[slot];
  Due due{std::string(entries_.id(slot)), entry.queue};
  pop();
  --size_;
  if (entry.places == 0) {
    entries_.erase(slot);
  } else {
    entry.is_gone = true;
  }
  pass_over();
  return due;
}

loop::TimePoint Schedule::next() const {
  return first_.empty() ? loop::kNever : first_.front().due;
}

}  // namespace postern::qmgr
