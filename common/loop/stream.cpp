#include "common/loop/stream.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "common/base/scratch.h"

namespace postern::loop {

namespace {

// One scratch buffer a thread: what was read is copied to a string of its own size, so that ten
// thousand sessions that each sent a line hold ten thousand lines, not ten thousand buffers.
auto read_buffer() { return scratch<Stream, Stream::kReadSize>(); }

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

Io Stream::read_now(std::size_t limit, bool& nothing) {
  nothing = false;
  const auto buffer = read_buffer();
  const std::size_t room = std::min(buffer.size(), limit - std::min(limit, input().size()));
  if (room == 0) return Io::kOk;
  const ssize_t count = ::recv(fd_.get(), buffer.data(), room, MSG_DONTWAIT);
  if (count > 0) {
    // A read that was not filled took all there was: the next one would only say EAGAIN.
    if (static_cast<std::size_t>(count) < room && !watch_.has_hung_up()) watch_.clear_read();
    if (consumed_ > 0) {
      in_.erase(0, consumed_);
      consumed_ = 0;
    }
    in_.append(buffer.data(), static_cast<std::size_t>(count));
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
  for (;;) {
    const Wait wait = co_await watch_.readable(deadline);
    if (wait != Wait::kReady) co_return failed(wait);
    bool nothing = false;
    const Io io = read_now(limit, nothing);
    if (!nothing) co_return io;
  }
}

Task<Io> Stream::flush(Deadline deadline) { return write({}, deadline); }

Task<Io> Stream::write(std::string_view text, Deadline deadline) {
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
  sent_ = 0;
  if (out_.capacity() > 512) {
    out_ = std::string();
  } else {
    out_.clear();
  }
  co_return Io::kOk;
}

void Stream::close() {
  watch_.abandon();
  fd_.reset();
}

}  // namespace postern::loop
