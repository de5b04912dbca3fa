// server.h - a listening socket whose connections are all served by one Dispatcher.

#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "common/ipc/channel.h"

namespace postern::ipc {

// Who may speak to a service: processes of these users, or of this group. Empty: everybody whom the
// directory of the socket lets in.
struct Peers {
  std::vector<uid_t> users;
  std::optional<gid_t> group;
};

class Server final : loop::Watched {
 public:
  // The listener is watched until stop(); the dispatcher is set up before the loop turns.
  explicit Server(sys::Fd listener) : listener_(std::move(listener)) {}
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] Dispatcher& dispatcher() { return dispatcher_; }
  void on_connected(std::function<void(const ChannelPtr&)> call) {
    on_connected_ = std::move(call);
  }
  void on_closed(std::function<void(const ChannelPtr&)> call) { on_closed_ = std::move(call); }
  // No more than this many connections; further ones wait in the listener's queue, where another
  // process of the same service may take them.
  void limit_connections(std::size_t limit) { limit_ = limit; }
  // Whoever else connects is told nothing, root aside: a directory lets more in than each service
  // is for.
  void only_for(uid_t user) { only_for_ = {{user}, {}}; }
  void only_for(Peers peers) { only_for_ = std::move(peers); }

  void start();
  void stop_accepting();
  // Stops accepting, and asks all clients to send nothing new. What was on its way still comes.
  void leave();
  [[nodiscard]] const std::unordered_set<ChannelPtr>& channels() const { return channels_; }

 private:
  void on_events(std::uint32_t events) override;
  [[nodiscard]] bool is_wanted(int fd);
  void adopt(sys::Fd fd);

  sys::Fd listener_;
  Dispatcher dispatcher_;
  std::function<void(const ChannelPtr&)> on_connected_;
  std::function<void(const ChannelPtr&)> on_closed_;
  std::unordered_set<ChannelPtr> channels_;
  std::size_t limit_ = SIZE_MAX;
  Peers only_for_;
  bool has_warned_ = false;
  bool watching_ = false;
  bool stopped_ = false;
};

}  // namespace postern::ipc
