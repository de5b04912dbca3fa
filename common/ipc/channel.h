// channel.h - one connection between two of our processes: frames, requests and their replies.
//
//     frame := length of payload (4)  type (2)  kind (1)  descriptors (1)  id (4)  payload
//
// Both ends may ask and answer. What is sent in one turn of the loop leaves in one system call at
// its end. Descriptors travel with, or before, the first byte of their frame. A malformed frame
// ends the channel, not the process.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/result.h"
#include "common/ipc/message.h"
#include "common/loop/loop.h"
#include "common/loop/task.h"
#include "common/sys/fd.h"

namespace postern::ipc {

enum class FrameKind : std::uint8_t { kRequest = 1, kReply = 2, kError = 3, kNotice = 4 };

struct Frame {
  FrameKind kind = FrameKind::kNotice;
  std::uint16_t type = 0;
  std::uint32_t id = 0;
  std::string_view payload;  // valid while the frame is handled
  std::vector<sys::Fd> fds;
};

class Channel;
using ChannelPtr = std::shared_ptr<Channel>;

// What a process does with the requests and notices that reach it, by type.
class Dispatcher {
 public:
  using RawHandler = std::function<void(const ChannelPtr&, Frame&)>;

  // A request that is answered at once. handler: Result<Reply>(Request&, const ChannelPtr&)
  template <Message Request, typename Handler>
  void answer(Handler handler);
  // A request that takes its time. handler: Task<Result<Reply>>(Request, ChannelPtr)
  template <Message Request, typename Handler>
  void serve(Handler handler);
  // handler: void(Notice&, const ChannelPtr&)
  template <Message Notice, typename Handler>
  void notice(Handler handler);
  // As answer, serve and notice, with the frame's descriptors as last parameter.
  template <Message Request, typename Handler>
  void serve_with_fds(Handler handler);
  template <Message Notice, typename Handler>
  void notice_with_fds(Handler handler);
  // Frames whose payload is no record (message content).
  void raw(std::uint16_t type, RawHandler handler) { handlers_[type] = std::move(handler); }

  void dispatch(const ChannelPtr& channel, Frame& frame) const;

 private:
  template <Message T>
  static std::shared_ptr<T> decode_or_close(const ChannelPtr& channel, const Frame& frame);
  std::unordered_map<std::uint16_t, RawHandler> handlers_;
};

// Why calls still unanswered are answered with an error when the channel closes: their result is a
// temporary error with this text.
inline constexpr std::string_view kChannelClosed = "connection to the service was lost";

// From a service that is to be replaced: send nothing new over this connection.
struct Leaving {
  static constexpr std::uint16_t kType = 0x0003;
  template <typename Self, typename Fields>
  static void fields(Self& /*self*/, Fields& /*field*/) {}
};

class Channel final : public std::enable_shared_from_this<Channel>, loop::TurnEnd {
 public:
  // `dispatcher` outlives the channel.
  Channel(sys::Fd fd, const Dispatcher& dispatcher) : fd_(std::move(fd)), dispatcher_(dispatcher) {}
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Starts reading. `on_closed` is called once, from the loop, when the channel has ended.
  void start(std::function<void(const ChannelPtr&)> on_closed = {});
  void close();
  [[nodiscard]] bool is_open() const { return open_; }
  // The process that connected, for the log; 0 when it is not known.
  [[nodiscard]] pid_t peer() const;

  // The reply; a temporary error at the deadline, or when the channel closes. Descriptors that came
  // with the reply go to *reply_fds.
  template <Message Request>
  [[nodiscard]] loop::Task<Result<typename Request::Reply>> call(
      Request request, loop::Deadline deadline, std::vector<sys::Fd> fds = {},
      std::vector<sys::Fd>* reply_fds = nullptr);

  template <Message Notice>
  void notify(const Notice& notice, std::vector<sys::Fd> fds = {}) {
    send(FrameKind::kNotice, Notice::kType, 0, encode(notice), std::move(fds));
  }

  void send(FrameKind kind, std::uint16_t type, std::uint32_t id, std::string_view payload,
            std::vector<sys::Fd> fds = {});
  template <typename Reply>
  void reply(std::uint16_t type, std::uint32_t id, const Result<Reply>& result,
             std::vector<sys::Fd> fds = {}) {
    if (result) {
      send(FrameKind::kReply, type, id, encode(*result), std::move(fds));
    } else {
      send_error(type, id, result.error());
    }
  }
  void send_error(std::uint16_t type, std::uint32_t id, const Error& error);

  // Bytes that wait for the other side to read.
  [[nodiscard]] std::size_t pending_output() const { return out_.size() - sent_; }
  // Waits until at most `limit` bytes wait. False at the deadline or when the channel has closed.
  [[nodiscard]] loop::Task<bool> drain(std::size_t limit, loop::Deadline deadline);
  // Sends what waits, as far as the socket takes it, without waiting for the end of the turn.
  void flush_now();

  // What the serving side keeps for this peer.
  std::shared_ptr<void> context;

 private:
  struct Answer {
    bool arrived = false;
    bool is_error = false;
    std::string payload;
    std::vector<sys::Fd> fds;
  };
  class CallAwaiter;

  void on_turn_end() override { flush_now(); }
  loop::Task<void> read_frames();
  [[nodiscard]] bool take_frames(std::string_view bytes);
  void handle(Frame& frame);
  loop::Task<void> flush_later();
  void forget_sent();
  [[nodiscard]] loop::Task<Answer> ask(std::uint16_t type, std::string payload,
                                       std::vector<sys::Fd> fds, loop::Deadline deadline);

  struct OutgoingFd {
    std::size_t frame_start;  // in out_
    sys::Fd fd;
  };

  sys::Fd fd_;
  loop::FdWatch watch_;
  const Dispatcher& dispatcher_;
  bool open_ = false;
  bool flushing_ = false;
  bool is_unheard_ = false;  // the peer reads no more
  std::string in_;
  std::vector<sys::Fd> in_fds_;
  std::string out_;
  std::size_t sent_ = 0;
  std::vector<OutgoingFd> out_fds_;
  std::uint32_t last_id_ = 0;
  std::unordered_map<std::uint32_t, CallAwaiter*> calls_;
  loop::Condition drained_;
  std::function<void(const ChannelPtr&)> on_closed_;
};

// ---- what follows is templates ----

template <Message T>
std::shared_ptr<T> Dispatcher::decode_or_close(const ChannelPtr& channel, const Frame& frame) {
  auto message = decode<T>(frame.payload);
  if (!message) {
    channel->close();
    return nullptr;
  }
  return std::make_shared<T>(*std::move(message));
}

template <Message Request, typename Handler>
void Dispatcher::answer(Handler handler) {
  raw(Request::kType, [handler = std::move(handler)](const ChannelPtr& channel, Frame& frame) {
    auto request = decode<Request>(frame.payload);
    if (!request) return channel->close();
    const Result<typename Request::Reply> result = handler(*request, channel);
    channel->reply(Request::kType, frame.id, result);
  });
}

template <Message Request, typename Handler>
void Dispatcher::serve(Handler handler) {
  serve_with_fds<Request>(
      [handler = std::move(handler)](Request request, ChannelPtr channel, std::vector<sys::Fd>) {
        return handler(std::move(request), std::move(channel));
      });
}

namespace detail {

// The frame of one request under way: keeps the request, the handler's task and the channel alive.
template <Message Request, typename Handler>
loop::Task<void> run_request(const Handler& handler, Request request, ChannelPtr channel,
                             std::uint32_t id, std::vector<sys::Fd> fds) {
  const Result<typename Request::Reply> result =
      co_await handler(std::move(request), channel, std::move(fds));
  if (channel->is_open()) channel->reply(Request::kType, id, result);
}

}  // namespace detail

template <Message Request, typename Handler>
void Dispatcher::serve_with_fds(Handler handler) {
  raw(Request::kType, [handler = std::move(handler)](const ChannelPtr& channel, Frame& frame) {
    auto request = decode<Request>(frame.payload);
    if (!request) return channel->close();
    loop::spawn(detail::run_request<Request>(handler, *std::move(request), channel, frame.id,
                                             std::move(frame.fds)));
  });
}

template <Message Notice, typename Handler>
void Dispatcher::notice(Handler handler) {
  raw(Notice::kType, [handler = std::move(handler)](const ChannelPtr& channel, Frame& frame) {
    auto message = decode<Notice>(frame.payload);
    if (!message) return channel->close();
    handler(*message, channel);
  });
}

template <Message Notice, typename Handler>
void Dispatcher::notice_with_fds(Handler handler) {
  raw(Notice::kType, [handler = std::move(handler)](const ChannelPtr& channel, Frame& frame) {
    auto message = decode<Notice>(frame.payload);
    if (!message) return channel->close();
    handler(*message, channel, std::move(frame.fds));
  });
}

template <Message Request>
loop::Task<Result<typename Request::Reply>> Channel::call(Request request, loop::Deadline deadline,
                                                          std::vector<sys::Fd> fds,
                                                          std::vector<sys::Fd>* reply_fds) {
  Answer answer = co_await ask(Request::kType, encode(request), std::move(fds), deadline);
  if (!answer.arrived) {
    co_return fail_temporary(open_ ? "the service did not answer in time"
                                   : std::string(kChannelClosed));
  }
  if (answer.is_error) {
    auto error = decode<Error>(answer.payload);
    if (!error) co_return std::unexpected(std::move(error).error());
    co_return std::unexpected(*std::move(error));
  }
  if (reply_fds != nullptr) *reply_fds = std::move(answer.fds);
  co_return decode<typename Request::Reply>(answer.payload);
}

}  // namespace postern::ipc
