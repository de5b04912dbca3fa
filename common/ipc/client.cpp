#include "common/ipc/client.h"

#include <algorithm>

#include "common/sys/socket.h"

namespace postern::ipc {

namespace {
// A service that master restarts is back within a second; one that is broken is not asked more
// often than every ten.
constexpr std::chrono::milliseconds kFirstBackOff{20};
constexpr std::chrono::seconds kLongestBackOff{10};
}  // namespace

Client::Client(std::string path, std::size_t window) : path_(std::move(path)), window_(window) {
  dispatcher_.notice<Leaving>([this](Leaving&, const ChannelPtr& channel) { leave(channel); });
}

Client::~Client() {
  if (channel_ != nullptr) channel_->close();
  for (const auto& left : left_) {
    if (const auto channel = left.lock()) channel->close();
  }
}

void Client::leave(const ChannelPtr& channel) {
  if (channel != channel_) return;
  std::erase_if(left_, [](const auto& left) { return left.expired(); });
  left_.push_back(channel_);
  channel_ = nullptr;
}

ChannelPtr Client::channel_now() {
  if (channel_ != nullptr && channel_->is_open()) return channel_;
  const auto now = loop::Clock::now();
  if (now < not_before_) return nullptr;
  auto fd = sys::connect_unix(path_);
  if (!fd) {
    back_off_ = std::clamp<loop::Clock::duration>(back_off_ * 2, kFirstBackOff, kLongestBackOff);
    not_before_ = now + back_off_;
    return nullptr;
  }
  channel_ = std::make_shared<Channel>(*std::move(fd), dispatcher_);
  channel_->start([this, alive = std::weak_ptr<Channel>(channel_)](const ChannelPtr& channel) {
    connection_closed(channel);
  });
  if (on_connected_) on_connected_(channel_);
  return channel_;
}

void Client::connection_closed(const ChannelPtr& channel) {
  if (channel != channel_) return;
  channel_ = nullptr;
  // One that served at all is given another chance soon; the connect itself decides from there.
  not_before_ = loop::Clock::now() + kFirstBackOff;
  back_off_ = kFirstBackOff;
}

loop::Task<ChannelPtr> Client::channel(loop::Deadline deadline) {
  for (;;) {
    ChannelPtr now = channel_now();
    if (now != nullptr) co_return now;
    const auto time = loop::Clock::now();
    if (time >= deadline) co_return nullptr;
    co_await loop::sleep_for(std::min<loop::Clock::duration>(not_before_ - time, deadline - time));
  }
}

}  // namespace postern::ipc
