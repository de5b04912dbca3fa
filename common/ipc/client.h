// client.h - a service of another process of ours, as its users see it.
//
// The connection is made with the first call, kept, and made again with back-off when it is lost. A
// request that may be repeated safely (Request::kRepeatable) is repeated then; any other fails with
// a temporary error. At most `window` calls are under way, the others wait here in order.
//
// A service that is to be replaced says so (Leaving) and answers what it was asked before: what
// comes next goes over a new connection, to its successor.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/channel.h"

namespace postern::ipc {

template <typename Request>
concept Repeatable = requires { requires Request::kRepeatable; };

class Client {
 public:
  // `path` is relative to the queue directory (every daemon's working directory or root).
  explicit Client(std::string path, std::size_t window = 1000);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // For requests and notices that come from the service; set up before the first call.
  [[nodiscard]] Dispatcher& dispatcher() { return dispatcher_; }
  // Called with each new connection, before anything else is sent over it.
  void on_connected(std::function<void(const ChannelPtr&)> call) {
    on_connected_ = std::move(call);
  }

  template <Message Request>
  [[nodiscard]] loop::Task<Result<typename Request::Reply>> call(
      Request request, loop::Deadline deadline, std::vector<sys::Fd> fds = {},
      std::vector<sys::Fd>* reply_fds = nullptr);

  // The open channel, connecting if there is none and no back-off forbids it; null otherwise.
  [[nodiscard]] ChannelPtr channel_now();
  // Waits for a channel; null at the deadline.
  [[nodiscard]] loop::Task<ChannelPtr> channel(loop::Deadline deadline);

  // Sends a notice if the service is there and reads; false if it was dropped.
  template <Message Notice>
  bool notify(const Notice& notice) {
    const ChannelPtr now = channel_now();
    if (now == nullptr || now->pending_output() > kMaxPendingNotices) return false;
    now->notify(notice);
    return true;
  }

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  static constexpr std::size_t kMaxPendingNotices = std::size_t{1} << 20;
  void connection_closed(const ChannelPtr& channel);
  void leave(const ChannelPtr& channel);

  std::string path_;
  std::size_t window_;
  std::size_t under_way_ = 0;
  loop::Condition room_;
  Dispatcher dispatcher_;
  std::function<void(const ChannelPtr&)> on_connected_;
  ChannelPtr channel_;
  std::vector<std::weak_ptr<Channel>> left_;  // for calls that were under way
  loop::TimePoint not_before_{};
  loop::Clock::duration back_off_{};
};

// ---- templates ----

template <Message Request>
loop::Task<Result<typename Request::Reply>> Client::call(Request request, loop::Deadline deadline,
                                                         std::vector<sys::Fd> fds,
                                                         std::vector<sys::Fd>* reply_fds) {
  using Reply = Result<typename Request::Reply>;
  while (under_way_ >= window_) {
    const loop::Wait wait = co_await room_.wait(deadline);
    if (wait != loop::Wait::kReady)
      co_return fail_temporary(path_ + ": too many requests under way");
  }
  ++under_way_;
  Reply reply = fail_temporary(path_ + ": service is not available");
  for (;;) {
    const ChannelPtr now = co_await channel(deadline);
    if (now == nullptr) break;
    std::vector<sys::Fd> sent;
    for (const auto& fd : fds) {
      auto copy = sys::duplicate(fd.get());
      if (copy) sent.push_back(*std::move(copy));
    }
    reply = co_await now->template call<Request>(request, deadline, std::move(sent), reply_fds);
    if (reply || now->is_open() || !Repeatable<Request>) break;
  }
  --under_way_;
  room_.notify_one();
  if (!reply && reply.error().text == kChannelClosed) {
    reply = fail_temporary(path_ + ": " + std::string(kChannelClosed));
  }
  co_return reply;
}

}  // namespace postern::ipc
