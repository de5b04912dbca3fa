// stream.h - a connection with a peer that may be slow, hostile or gone.
//
// Input is buffered only while there is some: a connection that waits holds no buffer. Every wait
// has a deadline. Nothing here reads on behalf of a wait to write or the other way round.

#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>

#include "common/loop/loop.h"
#include "common/loop/task.h"
#include "common/sys/fd.h"

namespace postern::loop {

enum class Io : unsigned char {
  kOk,
  kEof,        // the peer closed its side
  kTimeout,    // the deadline passed
  kError,      // reset, unreachable; error() has errno
  kCancelled,  // this side gave up waiting (drain)
};

class Stream {
 public:
  explicit Stream(sys::Fd fd) : fd_(std::move(fd)), watch_(fd_.get()) {}
  ~Stream() { close(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // What was read and not yet consumed.
  [[nodiscard]] std::string_view input() const { return std::string_view(in_).substr(consumed_); }
  // Drops n bytes of input(); views into it end here.
  void consume(std::size_t n);

  // Waits until at least one more byte of input is there; reads as much as is waiting, at most
  // `limit` bytes in all stay buffered.
  [[nodiscard]] Task<Io> fill(Deadline deadline, std::size_t limit = kReadSize);

  // Appends to the output without sending it.
  void put(std::string_view text) { out_ += text; }
  [[nodiscard]] std::size_t pending_output() const { return out_.size() - sent_; }
  // Sends everything put; what the kernel takes at once costs no wait.
  [[nodiscard]] Task<Io> flush(Deadline deadline);
  // Sends put() text and then `text`, without copying it.
  [[nodiscard]] Task<Io> write(std::string_view text, Deadline deadline);

  // Ends waits under way with kCancelled.
  void cancel_waits() { watch_.cancel_waits(); }
  // True when the peer has closed its side or the connection is broken, as far as is known
  // without reading.
  [[nodiscard]] bool has_hung_up() const { return watch_.has_hung_up(); }
  [[nodiscard]] bool has_input_waiting() const { return watch_.can_read(); }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] FdWatch& watch() { return watch_; }
  void close();

  static constexpr std::size_t kReadSize = std::size_t{64} << 10;

 private:
  [[nodiscard]] Io read_now(std::size_t limit, bool& nothing);
  [[nodiscard]] Io failed(Wait wait) const;

  sys::Fd fd_;
  FdWatch watch_;
  std::string in_;
  std::size_t consumed_ = 0;
  std::string out_;
  std::size_t sent_ = 0;
  int error_ = 0;
};

}  // namespace postern::loop
