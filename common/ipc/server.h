// server.h - a listening socket whose connections are all served by one Dispatcher.

#pragma once

#include <functional>
#include <unordered_set>
#include <utility>

#include "common/ipc/channel.h"
#include "common/ipc/peers.h"

namespace postern::ipc {

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
  // Whoever else connects is told nothing: a directory lets more in than each service is for.
  void only_for(Peers peers) { doorkeeper_ = Doorkeeper(std::move(peers)); }

  void start();
  void stop_accepting();
  // Stops accepting, and asks all clients to send nothing new. What was on its way still comes.
  void leave();
  [[nodiscard]] const std::unordered_set<ChannelPtr>& channels() const { return channels_; }

 private:
  void on_events(std::uint32_t events) override;
  void adopt(sys::Fd fd);

  sys::Fd listener_;
  Dispatcher dispatcher_;
  std::function<void(const ChannelPtr&)> on_connected_;
  std::function<void(const ChannelPtr&)> on_closed_;
  std::unordered_set<ChannelPtr> channels_;
  std::size_t limit_ = SIZE_MAX;
  Doorkeeper doorkeeper_;
  bool watching_ = false;
  bool stopped_ = false;
};

}  // namespace postern::ipc
