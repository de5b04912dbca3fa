// watch.h - what happens with mail, told to those who look on: `postern flush --wait` and
// `postern trace --live`.
//
// An onlooker costs nothing to mail: what it does not read in time is dropped for it, and counted.
// What a flush waits for is a list of ids; the end of a message's round, whatever it was, takes its
// id off, and an empty list is told.

#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "common/ipc/agent.h"
#include "common/ipc/channel.h"
#include "common/ipc/qmgr.h"
#include "qmgr/message.h"

namespace postern::qmgr {

class Watchers {
 public:
  // Takes the channel in, or changes what it looks at; too many are refused.
  [[nodiscard]] Result<void> add(const ipc::ChannelPtr& channel, bool is_live);
  void remove(const ipc::ChannelPtr& channel);
  [[nodiscard]] bool empty() const { return watchers_.empty(); }

  // The end of the round of each of these is waited for.
  void wait_for(const ipc::ChannelPtr& channel, std::unordered_set<std::string> ids);

  void arrived(const Message& message);
  void reported(const Message& message, const ipc::agent::Report& report);
  // The message is not in memory any more.
  void ended(std::string_view queue_id, ipc::qmgr::EventKind kind);

 private:
  struct Watcher {
    ipc::ChannelPtr channel;
    bool is_live = false;
    bool is_flush = false;
    std::unordered_set<std::string> waiting;
    std::int64_t dropped = 0;
  };
  static bool wants(const Watcher& watcher, const std::string& queue_id);
  static void tell(Watcher& watcher, ipc::qmgr::Event event);
  static void tell_end(Watcher& watcher);

  std::vector<Watcher> watchers_;
};

}  // namespace postern::qmgr
