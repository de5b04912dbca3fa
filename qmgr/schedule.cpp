#include "qmgr/schedule.h"

#include <algorithm>

namespace postern::qmgr {

namespace {
constexpr auto kLater = [](const auto& a, const auto& b) { return a > b; };
}  // namespace

void Schedule::push(const std::string& id, loop::TimePoint due) {
  heap_.push_back({due, &id});
  std::push_heap(heap_.begin(), heap_.end(), kLater);
}

void Schedule::put(const std::string& id, queuefile::Queue queue, loop::TimePoint due) {
  const auto [entry, is_new] = entries_.try_emplace(id, Entry{due, queue});
  if (!is_new) {
    entry->second = {due, queue};
    // The old place would look valid again if it is not taken out: rare, so by a full pass.
    std::erase_if(heap_, [&](const Place& place) { return place.id == &entry->first; });
    std::make_heap(heap_.begin(), heap_.end(), kLater);
  }
  push(entry->first, due);
}

void Schedule::remove(const std::string& id) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  std::erase_if(heap_, [&](const Place& place) { return place.id == &entry->first; });
  std::make_heap(heap_.begin(), heap_.end(), kLater);
  entries_.erase(entry);
}

void Schedule::make_due(const std::string& id, loop::TimePoint now) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.due <= now) return;
  put(id, entry->second.queue, now);
}

void Schedule::make_all_due(loop::TimePoint now) {
  heap_.clear();
  for (auto& [id, entry] : entries_) {
    entry.due = std::min(entry.due, now);
    heap_.push_back({entry.due, &id});
  }
  std::make_heap(heap_.begin(), heap_.end(), kLater);
}

std::optional<Schedule::Due> Schedule::take_due(loop::TimePoint now) {
  if (heap_.empty() || heap_.front().due > now) return std::nullopt;
  const std::string* id = heap_.front().id;
  std::pop_heap(heap_.begin(), heap_.end(), kLater);
  heap_.pop_back();
  const auto entry = entries_.find(*id);
  Due due{entry->first, entry->second.queue};
  entries_.erase(entry);
  return due;
}

loop::TimePoint Schedule::next() const { return heap_.empty() ? loop::kNever : heap_.front().due; }

}  // namespace postern::qmgr
