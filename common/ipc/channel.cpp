#include "common/ipc/channel.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "common/base/scratch.h"
#include "common/sys/socket.h"

namespace postern::ipc {

namespace {

constexpr std::size_t kHeaderSize = 12;
constexpr std::size_t kReceiveSize = std::size_t{256} << 10;
// Descriptors that came before their frames; a peer that sends more than it announces is broken.
constexpr std::size_t kMaxWaitingFds = 1024;
// A peer that never stops sending gets its share of the loop, not all of it.
constexpr unsigned kReadsPerTurn = 16;

template <typename T>
void append_number(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

template <typename T>
T number_at(std::string_view bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Error travels as a record of its own; it is a struct of common/base and knows no fields().
struct WireError {
  Error::Kind kind = Error::Kind::kTemporary;
  std::string text;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
    field("text", self.text);
  }
};

}  // namespace

// Specialised so that a reply's error decodes straight into an Error.
template <>
Result<Error> decode<Error>(std::string_view payload) {
  TRY(WireError wire, decode<WireError>(payload));
  return Error{wire.kind, std::move(wire.text)};
}

void Dispatcher::dispatch(const ChannelPtr& channel, Frame& frame) const {
  const auto found = handlers_.find(frame.type);
  if (found != handlers_.end()) {
    found->second(channel, frame);
  } else if (frame.kind == FrameKind::kRequest) {
    channel->send_error(frame.type, frame.id,
                        {Error::Kind::kTemporary, "the service does not know this request"});
  }
}

class Channel::CallAwaiter final : public loop::Timer {
 public:
  CallAwaiter(Channel& channel, std::uint32_t id, loop::Deadline deadline)
      : channel_(channel), id_(id), deadline_(deadline) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    channel_.calls_[id_] = this;
    arm(deadline_);
  }
  Answer await_resume() { return std::move(answer_); }

  void finish() {
    disarm();
    loop::Loop::current().post(handle_);
  }
  Answer answer_;

 private:
  void on_timer() override {
    channel_.calls_.erase(id_);
    loop::Loop::current().post(handle_);
  }
  Channel& channel_;
  std::uint32_t id_;
  loop::Deadline deadline_;
  std::coroutine_handle<> handle_;
};

Channel::~Channel() { loop::Loop::current().forget(*this); }

void Channel::start(std::function<void(const ChannelPtr&)> on_closed) {
  on_closed_ = std::move(on_closed);
  open_ = true;
  watch_.open(fd_.get());
  loop::spawn(read_frames());
}

pid_t Channel::peer() const { return sys::peer_process(fd_.get()); }

void Channel::close() {
  if (!open_) return;
  open_ = false;
  loop::Loop::current().forget(*this);
  auto calls = std::exchange(calls_, {});
  for (auto& [id, call] : calls) call->finish();
  drained_.notify_all();
  watch_.close();  // wakes read_frames, which says goodbye
}

loop::Task<void> Channel::read_frames() {
  const ChannelPtr self = shared_from_this();
  const auto buffer = scratch<Channel, kReceiveSize>();
  // Who started us is not through with it: the first frame must find `context` and the like set,
  // also when it is there already.
  co_await loop::Yield();
  for (unsigned reads = 1; open_; ++reads) {
    if (reads % kReadsPerTurn == 0) co_await loop::Yield();
    const loop::Wait wait = co_await watch_.readable(loop::kNever);
    if (wait != loop::Wait::kReady || !open_) break;
    const ssize_t count = sys::receive_with_fds(fd_.get(), buffer.data(), buffer.size(), in_fds_);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
      watch_.clear_read();
      continue;
    }
    if (count <= 0 || in_fds_.size() > kMaxWaitingFds) break;
    const auto size = static_cast<std::size_t>(count);
    // A socket with descriptors gives its messages one by one: only EAGAIN tells that it is empty.
    // Without them a read that was not filled took everything.
    if (size < buffer.size() && in_fds_.empty() && !watch_.has_hung_up()) watch_.clear_read();
    if (!take_frames({buffer.data(), size})) break;
  }
  close();
  if (on_closed_) {
    const auto closed = std::exchange(on_closed_, {});
    closed(self);
  }
}

bool Channel::take_frames(std::string_view bytes) {
  std::string joined;
  if (!in_.empty()) {
    joined = std::exchange(in_, {});
    joined += bytes;
    bytes = joined;
  }
  while (open_ && bytes.size() >= kHeaderSize) {
    const auto length = number_at<std::uint32_t>(bytes, 0);
    const auto fd_count = number_at<std::uint8_t>(bytes, 7);
    if (length > kMaxPayload) return false;
    if (bytes.size() - kHeaderSize < length) {
      // The rest is on its way: room for it now, not in many steps.
      in_.reserve(kHeaderSize + length);
      break;
    }
    Frame frame;
    frame.type = number_at<std::uint16_t>(bytes, 4);
    frame.kind = static_cast<FrameKind>(number_at<std::uint8_t>(bytes, 6));
    frame.id = number_at<std::uint32_t>(bytes, 8);
    frame.payload = bytes.substr(kHeaderSize, length);
    if (fd_count > in_fds_.size()) return false;
    for (unsigned i = 0; i < fd_count; ++i) frame.fds.push_back(std::move(in_fds_[i]));
    in_fds_.erase(in_fds_.begin(), in_fds_.begin() + fd_count);
    bytes.remove_prefix(kHeaderSize + length);
    handle(frame);
  }
  in_ += bytes;
  return open_;
}

void Channel::handle(Frame& frame) {
  switch (frame.kind) {
    case FrameKind::kRequest:
    case FrameKind::kNotice:
      dispatcher_.dispatch(shared_from_this(), frame);
      return;
    case FrameKind::kReply:
    case FrameKind::kError: {
      const auto found = calls_.find(frame.id);
      if (found == calls_.end()) return;  // its caller gave up
      CallAwaiter* call = found->second;
      calls_.erase(found);
      call->answer_ = {.arrived = true,
                       .is_error = frame.kind == FrameKind::kError,
                       .payload = std::string(frame.payload),
                       .fds = std::move(frame.fds)};
      call->finish();
      return;
    }
  }
  close();  // a kind that is none
}

loop::Task<Channel::Answer> Channel::ask(std::uint16_t type, std::string payload,
                                         std::vector<sys::Fd> fds, loop::Deadline deadline) {
  const ChannelPtr self = shared_from_this();
  if (!open_) co_return Answer{};
  const std::uint32_t id = ++last_id_;
  send(FrameKind::kRequest, type, id, payload, std::move(fds));
  CallAwaiter call(*this, id, deadline);
  co_return co_await call;
}

void Channel::send(FrameKind kind, std::uint16_t type, std::uint32_t id, std::string_view payload,
                   std::vector<sys::Fd> fds) {
  if (!open_ || is_unheard_) return;
  assert(payload.size() <= kMaxPayload && fds.size() <= sys::kMaxFdsPerMessage);
  for (auto& fd : fds) out_fds_.push_back({out_.size(), std::move(fd)});
  append_number(out_, static_cast<std::uint32_t>(payload.size()));
  append_number(out_, type);
  append_number(out_, static_cast<std::uint8_t>(kind));
  append_number(out_, static_cast<std::uint8_t>(fds.size()));
  append_number(out_, id);
  out_ += payload;
  loop::Loop::current().schedule(*this, loop::Loop::Order::kFrames);
}

void Channel::send_error(std::uint16_t type, std::uint32_t id, const Error& error) {
  send(FrameKind::kError, type, id, encode(WireError{error.kind, error.text}));
}

void Channel::flush_now() {
  while (open_ && sent_ < out_.size()) {
    std::string_view rest = std::string_view(out_).substr(sent_);
    std::array<int, sys::kMaxFdsPerMessage> fds;
    const std::size_t fd_count = std::min(out_fds_.size(), fds.size());
    for (std::size_t i = 0; i < fd_count; ++i) fds[i] = out_fds_[i].fd.get();
    // A frame must not arrive before its descriptors: stop short of the first that has to wait.
    if (fd_count < out_fds_.size()) {
      const std::size_t stop = out_fds_[fd_count].frame_start;
      rest = rest.substr(0, stop - sent_);
    }
    const ssize_t count = sys::send_with_fds(fd_.get(), {&rest, 1}, std::span(fds).first(fd_count));
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        watch_.clear_write();
        forget_sent();
        if (!flushing_) loop::spawn(flush_later());
        return;
      }
      if (errno != EPIPE && errno != ECONNRESET) return close();
      // The other side has gone. What it said before, a report of a delivery perhaps, is still to
      // be read: whoever reads comes to the end, and closes.
      is_unheard_ = true;
      out_ = std::string();
      out_fds_.clear();
      sent_ = 0;
      break;
    }
    sent_ += static_cast<std::size_t>(count);
    out_fds_.erase(out_fds_.begin(), out_fds_.begin() + static_cast<std::ptrdiff_t>(fd_count));
  }
  if (sent_ == out_.size()) {
    sent_ = 0;
    if (out_.capacity() > kReceiveSize) {
      out_ = std::string();
    } else {
      out_.clear();
    }
  }
  drained_.notify_all();
}

// With a peer that is always a little behind, the buffer would never be empty.
void Channel::forget_sent() {
  if (sent_ < kReceiveSize) return;
  out_.erase(0, sent_);
  for (auto& each : out_fds_) each.frame_start -= sent_;
  sent_ = 0;
}

loop::Task<void> Channel::flush_later() {
  const ChannelPtr self = shared_from_this();
  flushing_ = true;
  const loop::Wait wait = co_await watch_.writable(loop::kNever);
  flushing_ = false;
  if (wait == loop::Wait::kReady && open_) flush_now();
}

loop::Task<bool> Channel::drain(std::size_t limit, loop::Deadline deadline) {
  const ChannelPtr self = shared_from_this();
  while (open_ && pending_output() > limit) {
    flush_now();
    if (!open_ || pending_output() <= limit) break;
    const loop::Wait wait = co_await drained_.wait(deadline);
    if (wait == loop::Wait::kTimeout) co_return false;
  }
  co_return open_ && !is_unheard_;
}

}  // namespace postern::ipc
