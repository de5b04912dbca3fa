// stream.h - a connection with a peer that may be slow, hostile or gone.
//
// Input is buffered only while there is some: a connection that waits holds no buffer. Every wait
// has a deadline. Nothing here reads on behalf of a wait to write or the other way round.
//
// Bytes pass through a Transport where one is set (TLS); without it they are the socket's own.

#pragma once

#include <sys/types.h>

#include <memory>
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

// What stands between a Stream and its socket. It moves what it can without waiting; between calls
// it may hold bytes of both directions.
class Transport {
 public:
  enum class Status : unsigned char {
    kMoved,      // at least one byte
    kWantRead,   // the socket has to become readable first
    kWantWrite,  // or writable
    kEof,
    kError,  // errno, or EPROTO for what the peer did wrong
  };
  struct Moved {
    Status status = Status::kMoved;
    std::size_t bytes = 0;
  };

  Transport() = default;
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Precondition of both: room for a byte, or one to send. After kWantWrite, write_some() is called
  // again with the same bytes in front, wherever they are now.
  [[nodiscard]] virtual Moved read_some(std::span<char> into) = 0;
  [[nodiscard]] virtual Moved write_some(std::string_view bytes) = 0;
  // Whether read_some() may have something that the socket no longer has.
  [[nodiscard]] virtual bool holds_input() const = 0;
  // Before the socket is closed; does not wait for anybody.
  virtual void say_goodbye() = 0;
};

// Whether another process, or this one under another number, may have the same connection: one that
// was passed from or to a neighbour. The kernel watches it on then, after our close.
enum class Copies : unsigned char { kNone, kElsewhere };

class Stream {
 public:
  explicit Stream(sys::Fd fd, Copies copies = Copies::kElsewhere)
      : fd_(std::move(fd)), watch_(fd_.get()), copies_(copies) {}
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
  [[nodiscard]] bool has_input_waiting() const {
    return watch_.can_read() || (transport_ && transport_->holds_input());
  }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] FdWatch& watch() { return watch_; }
  // Precondition: no wait is under way, and nothing put() is left. Input that came before belongs
  // to nobody any more: what was said in the clear must not count as said in secret.
  void set_transport(std::unique_ptr<Transport> transport);
  [[nodiscard]] Transport* transport() const { return transport_.get(); }
  void close();

  static constexpr std::size_t kReadSize = std::size_t{64} << 10;

 private:
  [[nodiscard]] Io read_now(std::size_t limit, bool& nothing);
  [[nodiscard]] Task<Io> fill_plain(Deadline deadline, std::size_t limit);
  [[nodiscard]] Task<Io> write_plain(std::string_view text, Deadline deadline);
  [[nodiscard]] Task<Io> fill_through_transport(Deadline deadline, std::size_t limit);
  [[nodiscard]] Task<Io> write_through_transport(std::string_view text, Deadline deadline);
  [[nodiscard]] Task<Io> wait_for(Transport::Status wanted, bool reading, Deadline deadline);
  void append_input(std::string_view bytes);
  void forget_output();
  [[nodiscard]] Io failed(Wait wait) const;

  sys::Fd fd_;
  std::unique_ptr<Transport> transport_;  // null: plain
  FdWatch watch_;
  Copies copies_;
  std::string in_;
  std::size_t consumed_ = 0;
  std::string out_;
  std::size_t sent_ = 0;
  int error_ = 0;
};

}  // namespace postern::loop
