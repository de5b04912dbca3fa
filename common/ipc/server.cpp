#include "common/ipc/server.h"

#include <utility>

#include "common/sys/socket.h"

namespace postern::ipc {

namespace {
constexpr int kAcceptsPerTurn = 64;
}

Server::~Server() {
  stop_accepting();
  for (const auto& channel : std::unordered_set<ChannelPtr>(channels_)) channel->close();
}

void Server::start() {
  if (watching_ || stopped_ || !listener_) return;
  // Level-triggered: what is not accepted now because of the limit must be told again.
  loop::Loop::current().watch_level(listener_.get(), *this);
  watching_ = true;
}

void Server::stop_accepting() {
  if (watching_) loop::Loop::current().unwatch(listener_.get(), *this);
  watching_ = false;
  stopped_ = true;
  listener_.reset();
}

void Server::leave() {
  stop_accepting();
  for (const auto& channel : std::unordered_set<ChannelPtr>(channels_)) channel->notify(Leaving{});
}

void Server::on_events(std::uint32_t /*events*/) {
  for (int i = 0; i < kAcceptsPerTurn && channels_.size() < limit_; ++i) {
    auto accepted = sys::accept_connection(listener_.get());
    if (!accepted || !accepted->fd) break;
    if (doorkeeper_.lets_in(accepted->fd.get())) adopt(std::move(accepted->fd));
  }
  if (channels_.size() >= limit_ && watching_) {
    loop::Loop::current().unwatch(listener_.get(), *this);
    watching_ = false;
  }
}

void Server::adopt(sys::Fd fd) {
  auto channel = std::make_shared<Channel>(std::move(fd), dispatcher_);
  channels_.insert(channel);
  channel->start([this](const ChannelPtr& closed) {
    channels_.erase(closed);
    if (on_closed_) on_closed_(closed);
    start();
  });
  if (on_connected_) on_connected_(channel);
}

}  // namespace postern::ipc
