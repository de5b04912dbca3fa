#include "qmgr/schedule.h"

#include <algorithm>

namespace postern::qmgr {

namespace {
constexpr std::size_t kChildren = 4;
}  // namespace

void Schedule::push(Node& node) {
  ++node.second.places;
  const Place added{node.second.due, &node};
  heap_.push_back(added);
  std::size_t place = heap_.size() - 1;
  while (place > 0) {
    const std::size_t above = (place - 1) / kChildren;
    if (heap_[above].due <= added.due) break;
    heap_[place] = heap_[above];
    place = above;
  }
  heap_[place] = added;
}

void Schedule::move_down(std::size_t place) {
  const Place moved = heap_[place];
  for (;;) {
    const std::size_t first = place * kChildren + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    for (std::size_t i = first + 1; i < std::min(first + kChildren, heap_.size()); ++i) {
      if (heap_[i].due < heap_[least].due) least = i;
    }
    if (moved.due <= heap_[least].due) break;
    heap_[place] = heap_[least];
    place = least;
  }
  heap_[place] = moved;
}

void Schedule::pop() {
  --heap_.front().node->second.places;
  heap_.front() = heap_.back();
  heap_.pop_back();
  if (!heap_.empty()) move_down(0);
}

void Schedule::pass_over() {
  while (!heap_.empty()) {
    const Place first = heap_.front();
    const Entry& entry = first.node->second;
    if (!entry.is_gone && entry.due == first.due) return;
    pop();
    if (entry.is_gone && entry.places == 0) entries_.erase(first.node->first);
  }
}

void Schedule::rebuild() {
  std::erase_if(entries_, [](const Node& node) { return node.second.is_gone; });
  heap_.clear();
  for (Node& node : entries_) {
    node.second.places = 1;
    heap_.push_back({node.second.due, &node});
  }
  for (std::size_t place = heap_.size(); place-- > 0;) move_down(place);
}

void Schedule::put(const std::string& id, queuefile::Queue queue, loop::TimePoint due) {
  Node& node = *entries_.try_emplace(id).first;
  Entry& entry = node.second;
  if (entry.places == 0 || entry.is_gone) ++size_;
  entry.due = due;
  entry.queue = queue;
  entry.is_gone = false;
  push(node);
  pass_over();
  // Mostly what counts.
  constexpr std::size_t kFew = 64;
  if (heap_.size() > 2 * size_ + kFew) rebuild();
}

void Schedule::remove(const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.is_gone) return;
  found->second.is_gone = true;
  --size_;
  pass_over();
}

bool Schedule::contains(const std::string& id) const { return queue_of(id).has_value(); }

std::optional<queuefile::Queue> Schedule::queue_of(const std::string& id) const {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.is_gone) return std::nullopt;
  return found->second.queue;
}

void Schedule::make_due(const std::string& id, loop::TimePoint now) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.is_gone || found->second.due <= now) return;
  put(id, found->second.queue, now);
}

void Schedule::make_all_due(loop::TimePoint now) {
  for (auto& [id, entry] : entries_) entry.due = std::min(entry.due, now);
  rebuild();
}

std::optional<Schedule::Due> Schedule::take_due(loop::TimePoint now) {
  if (heap_.empty() || heap_.front().due > now) return std::nullopt;
  Node& node = *heap_.front().node;
  Due due{node.first, node.second.queue};
  pop();
  --size_;
  if (node.second.places == 0) {
    entries_.erase(due.id);
  } else {
    node.second.is_gone = true;
  }
  pass_over();
  return due;
}

loop::TimePoint Schedule::next() const { return heap_.empty() ? loop::kNever : heap_.front().due; }

}  // namespace postern::qmgr
