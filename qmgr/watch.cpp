#include "qmgr/watch.h"

#include <algorithm>

namespace postern::qmgr {

namespace {

constexpr std::size_t kMaxWatchers = 16;
// Beyond this an onlooker reads too slowly; its connection holds no more.
constexpr std::size_t kMaxUnread = std::size_t{1} << 20;

}  // namespace

Result<void> Watchers::add(const ipc::ChannelPtr& channel, bool is_live) {
  const auto known = std::ranges::find(watchers_, channel, &Watcher::channel);
  if (known != watchers_.end()) {
    known->is_live = is_live;
    return {};
  }
  if (watchers_.size() >= kMaxWatchers) return fail_temporary("too many look on already");
  watchers_.push_back({.channel = channel, .is_live = is_live, .waiting = {}});
  return {};
}

void Watchers::remove(const ipc::ChannelPtr& channel) {
  std::erase_if(watchers_, [&](const Watcher& watcher) { return watcher.channel == channel; });
}

void Watchers::wait_for(const ipc::ChannelPtr& channel, std::unordered_set<std::string> ids) {
  const auto known = std::ranges::find(watchers_, channel, &Watcher::channel);
  if (known == watchers_.end()) return;
  known->is_flush = true;
  known->waiting = std::move(ids);
  if (known->waiting.empty()) tell_end(*known);
}

bool Watchers::wants(const Watcher& watcher, const std::string& queue_id) {
  return watcher.is_live || watcher.waiting.contains(queue_id);
}

void Watchers::tell(Watcher& watcher, ipc::qmgr::Event event) {
  if (watcher.channel->pending_output() > kMaxUnread) {
    ++watcher.dropped;
    return;
  }
  event.dropped = std::exchange(watcher.dropped, 0);
  watcher.channel->notify(event);
}

// Never dropped: somebody waits for it.
void Watchers::tell_end(Watcher& watcher) {
  watcher.is_flush = false;
  ipc::qmgr::Event event;
  event.kind = ipc::qmgr::EventKind::kFlushed;
  event.dropped = std::exchange(watcher.dropped, 0);
  watcher.channel->notify(event);
}

void Watchers::arrived(const Message& message) {
  for (Watcher& watcher : watchers_) {
    if (!watcher.is_live) continue;
    ipc::qmgr::Event event;
    event.kind =
        message.was_deferred ? ipc::qmgr::EventKind::kTriedAgain : ipc::qmgr::EventKind::kArrived;
    event.queue_id = message.id;
    event.sender = message.sender;
    event.client = message.client;
    event.size = static_cast<std::int64_t>(message.size);
    for (const Recipient& recipient : message.recipients) {
      if (recipient.progress != Progress::kWaiting) continue;
      if (event.recipient.empty()) event.recipient = recipient.address;
      ++event.recipients;
    }
    tell(watcher, std::move(event));
  }
}

void Watchers::reported(const Message& message, const ipc::agent::Report& report) {
  for (Watcher& watcher : watchers_) {
    if (!wants(watcher, message.id)) continue;
    for (const auto& entry : report.recipients) {
      if (entry.share == ipc::agent::Share::kPart || entry.share == ipc::agent::Share::kNote)
        continue;
      if (entry.outcome == ipc::agent::Outcome::kRerouted) continue;
      const Recipient* recipient = find_recipient(message, entry.state_offset);
      if (recipient == nullptr || recipient->progress == Progress::kDone) continue;
      ipc::qmgr::Event event;
      event.kind = ipc::qmgr::EventKind::kOutcome;
      event.queue_id = message.id;
      event.sender = message.sender;
      event.client = message.client;
      event.recipient = recipient->address;
      event.transport = recipient->transport;
      event.outcome = entry.outcome;
      event.status = entry.status;
      event.text = entry.text;
      event.remote_mta = entry.remote_mta;
      tell(watcher, std::move(event));
    }
  }
}

void Watchers::ended(std::string_view queue_id, ipc::qmgr::EventKind kind) {
  const std::string id(queue_id);
  for (Watcher& watcher : watchers_) {
    if (wants(watcher, id)) {
      ipc::qmgr::Event event;
      event.kind = kind;
      event.queue_id = id;
      tell(watcher, std::move(event));
    }
    watcher.waiting.erase(id);
    if (watcher.is_flush && watcher.waiting.empty()) tell_end(watcher);
  }
}

}  // namespace postern::qmgr
