#include "common/loop/stream.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "common/base/scratch.h"

namespace postern::loop {

namespace {

// One scratch buffer a thread: what was read is copied to a string of its own size, so that ten
// thousand sessions that each sent a line hold ten thousand lines, not ten thousand buffers.
auto read_buffer() { return scratch<Stream, Stream::kReadSize>(); }

// A peer that sends faster than we read never lets us wait. Behind so many bytes the others have
// their turn, and the deadline is looked at.
constexpr std::size_t kShare = std::size_t{128} << 10;

// What the last reader read, one time after the other in one turn of the loop.
struct Reads {
  const Stream* reader = nullptr;
  TimePoint turn;
  std::size_t bytes = 0;
};
thread_local Reads reads;

void note_read(const Stream& stream, std::size_t bytes) {
  const TimePoint turn = Loop::current().now();
  if (reads.reader != &stream || reads.turn != turn) reads = {&stream, turn, 0};
  reads.bytes += bytes;
}

bool has_had_its_share(const Stream& stream) {
  return reads.reader == &stream && reads.bytes >= kShare && reads.turn == Loop::current().now();
}

}  // namespace

void Stream::consume(std::size_t n) {
  consumed_ += n;
  if (consumed_ < in_.size()) return;
  consumed_ = 0;
  if (in_.capacity() > 512) {
    in_ = std::string();
  } else {
    in_.clear();
  }
}

Io Stream::failed(Wait wait) const {
  return wait == Wait::kTimeout ? Io::kTimeout : Io::kCancelled;
}

void Stream::append_input(std::string_view bytes) {
  if (consumed_ > 0) {
    in_.erase(0, consumed_);
    consumed_ = 0;
  }
  in_.append(bytes);
}

void Stream::forget_output() {
  sent_ = 0;
  if (out_.capacity() > 512) {
    out_ = std::string();
  } else {
    out_.clear();
  }
}

Io Stream::read_now(std::size_t limit, bool& nothing) {
  nothing = false;
  const auto buffer = read_buffer();
  const std::size_t room = std::min(buffer.size(), limit - std::min(limit, input().size()));
  if (room == 0) return Io::kOk;
  const ssize_t count = ::recv(fd_.get(), buffer.data(), room, MSG_DONTWAIT);
  if (count > 0) {
    // A read that was not filled took all there was: the next one would only say EAGAIN.
    if (static_cast<std::size_t>(count) < room && !watch_.has_hung_up()) watch_.clear_read();
    append_input({buffer.data(), static_cast<std::size_t>(count)});
    note_read(*this, static_cast<std::size_t>(count));
    return Io::kOk;
  }
  if (count == 0) return Io::kEof;
  if (errno == EAGAIN || errno == EINTR) {
    watch_.clear_read();
    nothing = true;
    return Io::kOk;
  }
  error_ = errno;
  return Io::kError;
}

Task<Io> Stream::fill(Deadline deadline, std::size_t limit) {
  return transport_ ? fill_through_transport(deadline, limit) : fill_plain(deadline, limit);
}

Task<Io> Stream::fill_plain(Deadline deadline, std::size_t limit) {
  for (;;) {
    if (has_had_its_share(*this)) {
      co_await Yield();
      if (Loop::current().now() >= deadline) co_return Io::kTimeout;
    }
    const Wait wait = co_await watch_.readable(deadline);
    if (wait != Wait::kReady) co_return failed(wait);
    bool nothing = false;
    const Io io = read_now(limit, nothing);
    if (!nothing) co_return io;
  }
}

Task<Io> Stream::flush(Deadline deadline) { return write({}, deadline); }

Task<Io> Stream::write(std::string_view text, Deadline deadline) {
  return transport_ ? write_through_transport(text, deadline) : write_plain(text, deadline);
}

Task<Io> Stream::write_plain(std::string_view text, Deadline deadline) {
  while (sent_ < out_.size() || !text.empty()) {
    const Wait wait = co_await watch_.writable(deadline);
    if (wait != Wait::kReady) co_return failed(wait);
    iovec parts[2] = {{out_.data() + sent_, out_.size() - sent_},
                      {const_cast<char*>(text.data()), text.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t count = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EAGAIN || errno == EINTR) {
        watch_.clear_write();
        continue;
      }
      error_ = errno;
      co_return Io::kError;
    }
    const auto sent = static_cast<std::size_t>(count);
    const std::size_t from_out = std::min(sent, out_.size() - sent_);
    sent_ += from_out;
    text.remove_prefix(sent - from_out);
  }
  forget_output();
  co_return Io::kOk;
}

// A transport that reads may have to write first, and the other way round, where both sides renew
// their keys. Somebody else may be waiting for that already, so this rare case looks again in a
// while; the plain one waits for the event.
Task<Io> Stream::wait_for(Transport::Status wanted, bool reading, Deadline deadline) {
  constexpr auto kLookAgain = std::chrono::milliseconds(20);
  Wait wait = Wait::kReady;
  if (wanted == Transport::Status::kWantRead && reading) {
    watch_.clear_read();
    wait = co_await watch_.readable(deadline);
  } else if (wanted == Transport::Status::kWantWrite && !reading) {
    watch_.clear_write();
    wait = co_await watch_.writable(deadline);
  } else {
    if (Loop::current().now() >= deadline) co_return Io::kTimeout;
    co_await sleep_for(kLookAgain);
    if (!fd_) co_return Io::kCancelled;
  }
  co_return wait == Wait::kReady ? Io::kOk : failed(wait);
}

Task<Io> Stream::fill_through_transport(Deadline deadline, std::size_t limit) {
  for (;;) {
    if (has_had_its_share(*this)) {
      co_await Yield();
      if (Loop::current().now() >= deadline) co_return Io::kTimeout;
      if (!transport_) co_return Io::kCancelled;
    }
    if (!transport_->holds_input()) {
      const Wait wait = co_await watch_.readable(deadline);
      if (wait != Wait::kReady) co_return failed(wait);
    }
    Transport::Moved moved;
    {
      const auto buffer = read_buffer();
      const std::size_t room = std::min(buffer.size(), limit - std::min(limit, input().size()));
      if (room == 0) co_return Io::kOk;
      moved = transport_->read_some(buffer.first(room));
      if (moved.status == Transport::Status::kMoved) {
        append_input({buffer.data(), moved.bytes});
        note_read(*this, moved.bytes);
        co_return Io::kOk;
      }
    }
    if (moved.status == Transport::Status::kEof) co_return Io::kEof;
    if (moved.status == Transport::Status::kError) {
      error_ = errno;
      co_return Io::kError;
    }
    const Io io = co_await wait_for(moved.status, true, deadline);
    if (io != Io::kOk) co_return io;
  }
}

Task<Io> Stream::write_through_transport(std::string_view text, Deadline deadline) {
  // Short text goes behind what is there: one record and one packet instead of two.
  constexpr std::size_t kOneRecord = std::size_t{16} << 10;
  if (!text.empty() && pending_output() > 0 && pending_output() + text.size() <= kOneRecord) {
    out_ += text;
    text = {};
  }
  while (sent_ < out_.size() || !text.empty()) {
    const bool from_out = sent_ < out_.size();
    const std::string_view next = from_out ? std::string_view(out_).substr(sent_) : text;
    const Transport::Moved moved = transport_->write_some(next);
    if (moved.status == Transport::Status::kMoved) {
      if (from_out) {
        sent_ += moved.bytes;
      } else {
        text.remove_prefix(moved.bytes);
      }
      continue;
    }
    if (moved.status == Transport::Status::kEof) co_return Io::kEof;
    if (moved.status == Transport::Status::kError) {
      error_ = errno;
      co_return Io::kError;
    }
    const Io io = co_await wait_for(moved.status, false, deadline);
    if (io != Io::kOk) co_return io;
  }
  forget_output();
  co_return Io::kOk;
}

void Stream::set_transport(std::unique_ptr<Transport> transport) {
  assert(pending_output() == 0);
  in_ = std::string();
  consumed_ = 0;
  transport_ = std::move(transport);
}

void Stream::close() {
  if (transport_) {
    if (fd_) transport_->say_goodbye();
    transport_.reset();
  }
  if (copies_ == Copies::kNone) {
    watch_.abandon();
  } else {
    watch_.close();
  }
  fd_.reset();
}

}  // namespace postern::loop
