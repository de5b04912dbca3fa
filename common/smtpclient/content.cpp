#include "common/smtpclient/content.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <span>

#include "common/queuefile/layout.h"
#include "common/smtpwire/dot.h"
#include "common/sys/fd.h"

namespace postern::smtpclient {

namespace {

// What one read takes. Encoded it may double, if every byte is a line end.
constexpr std::size_t kReadSize = std::size_t{128} << 10;

// Encodes into one buffer, and sends it when it is full.
class Sender {
 public:
  Sender(loop::Stream& stream, std::span<char> buffer, std::size_t line_limit,
         std::chrono::seconds timeout)
      : stream_(stream), buffer_(buffer), encoder_(line_limit), timeout_(timeout) {}

  loop::Task<loop::Io> put(std::string_view text) {
    while (!text.empty()) {
      used_ += encoder_.encode(text, buffer_.subspan(used_));
      if (text.empty()) break;
      const loop::Io io = co_await send();
      if (io != loop::Io::kOk) co_return io;
    }
    co_return loop::Io::kOk;
  }

  loop::Task<loop::Io> finish() {
    if (buffer_.size() - used_ < smtpwire::DotEncoder::kFinishSize) {
      const loop::Io io = co_await send();
      if (io != loop::Io::kOk) co_return io;
    }
    used_ += encoder_.finish(buffer_.subspan(used_));
    const loop::Io io = co_await send();
    co_return io;
  }

 private:
  loop::Task<loop::Io> send() {
    const std::string_view ready(buffer_.data(), std::exchange(used_, 0));
    const auto deadline = timeout_.count() > 0 ? loop::Clock::now() + timeout_ : loop::kNever;
    const loop::Io io = co_await stream_.write(ready, deadline);
    co_return io;
  }

  loop::Stream& stream_;
  std::span<char> buffer_;
  std::size_t used_ = 0;
  smtpwire::DotEncoder encoder_;
  std::chrono::seconds timeout_;
};

// What is in the page cache costs no wait; for the disk a thread waits.
loop::Task<ssize_t> read_some(Job& job, char* buffer, std::size_t size, std::uint64_t offset) {
  const int fd = job.fd();
  const auto at = static_cast<off_t>(offset);
  const iovec part{buffer, size};
  const ssize_t now = ::preadv2(fd, &part, 1, at, RWF_NOWAIT);
  if (now > 0) co_return now;
  if (now < 0 && errno == EOPNOTSUPP) co_return ::pread(fd, buffer, size, at);
  const ssize_t later = co_await job.pool().run([=] {
    const ssize_t count = ::pread(fd, buffer, size, at);
    return count < 0 ? static_cast<ssize_t>(-errno) : count;
  });
  if (later < 0) errno = static_cast<int>(-later);
  co_return later < 0 ? -1 : later;
}

loop::Task<ContentResult> put_extent(Sender& sender, Job& job, char* buffer,
                                     queuefile::Extent extent) {
  ContentResult out;
  std::uint64_t at = extent.offset;
  while (at < extent.end()) {
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(kReadSize, extent.end() - at));
    const ssize_t count = co_await read_some(job, buffer, size, at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      out.read_error = count < 0 ? sys::errno_text(errno) : "unexpected end of the queue file";
      co_return out;
    }
    at += static_cast<std::uint64_t>(count);
    out.io = co_await sender.put({buffer, static_cast<std::size_t>(count)});
    if (out.io != loop::Io::kOk) co_return out;
  }
  co_return out;
}

// One piece after it was changed; an error of the tables is one of reading.
loop::Task<ContentResult> put_changed(Sender& sender, Result<std::string> changed) {
  ContentResult out;
  if (!changed) {
    out.read_error = changed.error().text;
  } else {
    out.io = co_await sender.put(*changed);
  }
  co_return out;
}

bool is_good(const ContentResult& result) {
  return result.io == loop::Io::kOk && result.read_error.empty();
}

// Reads an extent and hands each piece to `take`.
template <typename Take>
loop::Task<ContentResult> read_extent(Job& job, char* buffer, queuefile::Extent extent, Take take) {
  ContentResult out;
  std::uint64_t at = extent.offset;
  while (at < extent.end() && is_good(out)) {
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(kReadSize, extent.end() - at));
    const ssize_t count = co_await read_some(job, buffer, size, at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      out.read_error = count < 0 ? sys::errno_text(errno) : "unexpected end of the queue file";
      co_return out;
    }
    at += static_cast<std::uint64_t>(count);
    out = co_await take(std::string_view(buffer, static_cast<std::size_t>(count)));
  }
  co_return out;
}

loop::Task<ContentResult> send_changed(Sender& sender, Job& job, BufferPool& buffers,
                                       Outgoing& changes) {
  const queuefile::Message& message = job.message();
  ContentResult out;
  std::string header;
  BufferPool::Buffer input = buffers.take();
  if (message.is_in_memory()) {
    header = message.header();
  } else {
    const auto keep = [&header](std::string_view piece) -> loop::Task<ContentResult> {
      header += piece;
      co_return ContentResult{};
    };
    out = co_await read_extent(job, input.get(), message.layout.header, keep);
  }
  if (is_good(out)) {
    auto changed = co_await changes.change_header(std::move(header));
    out = co_await put_changed(sender, std::move(changed));
  }
  if (is_good(out)) out.io = co_await sender.put("\n");
  const auto change = [&](std::string_view piece) -> loop::Task<ContentResult> {
    auto changed = co_await changes.change_body(piece);
    auto done = co_await put_changed(sender, std::move(changed));
    co_return done;
  };
  if (is_good(out)) {
    if (message.is_in_memory()) {
      out = co_await change(message.body());
    } else {
      out = co_await read_extent(job, input.get(), message.layout.body, change);
    }
  }
  if (is_good(out)) {
    auto rest = co_await changes.finish_body();
    out = co_await put_changed(sender, std::move(rest));
  }
  if (is_good(out)) out.io = co_await sender.finish();
  buffers.give(std::move(input));
  co_return out;
}

loop::Task<ContentResult> send_parts(Sender& sender, Job& job, BufferPool& buffers) {
  const queuefile::Message& message = job.message();
  ContentResult out;
  if (message.is_in_memory()) {
    out.io = co_await sender.put(message.header());
    if (out.io == loop::Io::kOk) out.io = co_await sender.put("\n");
    if (out.io == loop::Io::kOk) out.io = co_await sender.put(message.body());
  } else {
    BufferPool::Buffer input = buffers.take();
    out = co_await put_extent(sender, job, input.get(), message.layout.header);
    if (out.io == loop::Io::kOk && out.read_error.empty()) out.io = co_await sender.put("\n");
    if (out.io == loop::Io::kOk && out.read_error.empty()) {
      out = co_await put_extent(sender, job, input.get(), message.layout.body);
    }
    buffers.give(std::move(input));
  }
  if (out.io == loop::Io::kOk && out.read_error.empty()) out.io = co_await sender.finish();
  co_return out;
}

}  // namespace

BufferPool::Buffer BufferPool::take() {
  if (free_.empty()) return std::make_unique_for_overwrite<char[]>(kSize);
  Buffer buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BufferPool::give(Buffer buffer) {
  if (free_.size() < kMaxKept) free_.push_back(std::move(buffer));
}

loop::Task<ContentResult> send_content(loop::Stream& stream, Job& job, BufferPool& buffers,
                                       std::size_t line_limit, std::chrono::seconds timeout,
                                       Outgoing* changes) {
  static_assert(kReadSize <= BufferPool::kSize);
  BufferPool::Buffer output = buffers.take();
  Sender sender(stream, {output.get(), BufferPool::kSize}, line_limit, timeout);
  ContentResult out;
  if (changes != nullptr) {
    out = co_await send_changed(sender, job, buffers, *changes);
  } else {
    out = co_await send_parts(sender, job, buffers);
  }
  buffers.give(std::move(output));
  co_return out;
}

}  // namespace postern::smtpclient
