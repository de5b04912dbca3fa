#include "common/ipc/server.h"

#include <algorithm>
#include <utility>

#include "common/log/log.h"
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
    if (is_wanted(accepted->fd.get())) adopt(std::move(accepted->fd));
  }
  if (channels_.size() >= limit_ && watching_) {
    loop::Loop::current().unwatch(listener_.get(), *this);
    watching_ = false;
  }
}

bool Server::is_wanted(int fd) {
  if (only_for_.users.empty()) return true;
  const auto user = sys::peer_user(fd);
  if (user && (*user == 0 || std::ranges::find(only_for_.users, *user) != only_for_.users.end())) {
    return true;
  }
  if (only_for_.group && sys::peer_group(fd) == only_for_.group) return true;
  if (!std::exchange(has_warned_, true)) {
    log::warning("process {} of user {} was refused: the service is not for it",
                 sys::peer_process(fd), user ? static_cast<long>(*user) : -1L);
  }
  return false;
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
