#include "qmgr/schedule.h"

#include <algorithm>

namespace postern::qmgr {

void Schedule::set(std::size_t place, Node* node) {
  heap_[place] = node;
  node->second.place = static_cast<std::uint32_t>(place);
}

void Schedule::move_up(std::size_t place) {
  Node* const node = heap_[place];
  while (place > 0) {
    const std::size_t above = (place - 1) / 2;
    if (heap_[above]->second.due <= node->second.due) break;
    set(place, heap_[above]);
    place = above;
  }
  set(place, node);
}

void Schedule::move_down(std::size_t place) {
  Node* const node = heap_[place];
  for (;;) {
    std::size_t below = 2 * place + 1;
    if (below >= heap_.size()) break;
    const std::size_t other = below + 1;
    if (other < heap_.size() && heap_[other]->second.due < heap_[below]->second.due) below = other;
    if (node->second.due <= heap_[below]->second.due) break;
    set(place, heap_[below]);
    place = below;
  }
  set(place, node);
}

void Schedule::take_out(std::size_t place) {
  Node* const last = heap_.back();
  heap_.pop_back();
  if (place == heap_.size()) return;
  set(place, last);
  move_up(place);
  move_down(last->second.place);
}

void Schedule::put(const std::string& id, queuefile::Queue queue, loop::TimePoint due) {
  const auto [entry, is_new] = entries_.try_emplace(id, Entry{due, 0, queue});
  if (is_new) {
    heap_.push_back(&*entry);
    return move_up(heap_.size() - 1);
  }
  entry->second.due = due;
  entry->second.queue = queue;
  move_up(entry->second.place);
  move_down(entry->second.place);
}

void Schedule::remove(const std::string& id) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  take_out(entry->second.place);
  entries_.erase(entry);
}

void Schedule::make_due(const std::string& id, loop::TimePoint now) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.due <= now) return;
  entry->second.due = now;
  move_up(entry->second.place);
}

void Schedule::make_all_due(loop::TimePoint now) {
  // What was due before keeps its turn, and so does the heap its order.
  for (auto& [id, entry] : entries_) entry.due = std::min(entry.due, now);
}

std::optional<Schedule::Due> Schedule::take_due(loop::TimePoint now) {
  if (heap_.empty() || heap_.front()->second.due > now) return std::nullopt;
  const auto entry = entries_.find(heap_.front()->first);
  Due due{entry->first, entry->second.queue};
  take_out(0);
  entries_.erase(entry);
  return due;
}

loop::TimePoint Schedule::next() const {
  return heap_.empty() ? loop::kNever : heap_.front()->second.due;
}

}  // namespace postern::qmgr
