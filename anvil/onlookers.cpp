#include "anvil/onlookers.h"

#include <algorithm>
#include <utility>

namespace postern::anvil {

namespace {

constexpr std::size_t kMaxOnlookers = 16;
// Beyond this an onlooker reads too slowly; his connection holds no more.
constexpr std::size_t kMaxUnread = std::size_t{1} << 20;

}  // namespace

Result<void> Onlookers::add(const ipc::ChannelPtr& channel) {
  if (std::ranges::find(onlookers_, channel, &Onlooker::channel) != onlookers_.end()) return {};
  if (onlookers_.size() >= kMaxOnlookers) return fail_temporary("too many look on already");
  onlookers_.push_back({.channel = channel});
  return {};
}

void Onlookers::remove(const ipc::ChannelPtr& channel) {
  std::erase_if(onlookers_, [&](const Onlooker& known) { return known.channel == channel; });
}

void Onlookers::show(const ipc::anvil::SessionLine& line) {
  for (Onlooker& onlooker : onlookers_) {
    if (onlooker.channel->pending_output() > kMaxUnread) {
      ++onlooker.dropped;
      continue;
    }
    ipc::anvil::SessionLine shown = line;
    shown.dropped = std::exchange(onlooker.dropped, 0);
    onlooker.channel->notify(shown);
  }
}

}  // namespace postern::anvil
