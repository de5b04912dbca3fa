// writer.h - composes one queue file in memory; the bytes are taken from it and written in order.
//
//     Writer writer(envelope);
//     writer.append_body(chunk);                       // as the content arrives
//     if (writer.is_due()) write(writer.take());       // large messages only
//     writer.finish(header, size, amendment);
//     write(writer.take());                            // small messages: the one write
//
// The writer knows no descriptor: who writes does so where blocking is allowed, and makes the
// file durable afterwards (fchmod, fsync, close are the committer's).

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/queuefile/envelope.h"
#include "common/queuefile/layout.h"
#include "common/queuefile/state.h"

namespace postern::queuefile {

// A state byte to be written over what was taken already: write_state() does it.
struct StateWrite {
  std::uint64_t offset = 0;
  State state = State::kPending;
};

class Writer {
 public:
  // Fills in the state offsets of `envelope`. Precondition: check_bounds(envelope).
  explicit Writer(Envelope& envelope);

  // Body bytes, lines ending in LF.
  void append_body(std::string_view chunk);

  // The body so far does not count: what follows is the whole body.
  void restart_body();

  // Marks a recipient that was already composed. What is returned is still to be written by the
  // caller, before the file is committed.
  [[nodiscard]] std::optional<StateWrite> mark(std::uint64_t state_offset, State state);

  // Appends the finished header (each line ending in LF, no empty line at its end), the late
  // changes and the trailer. Once, and last. Precondition: check_bounds(amendment).
  void finish(std::string_view header, std::uint64_t message_size, Amendment* amendment = nullptr);

  // So much is waiting that the file is no small one: take() and write it.
  [[nodiscard]] bool is_due() const { return pending_.size() >= kSmallFile; }

  // The bytes to be written next, at offset written(); what is taken counts as written.
  [[nodiscard]] std::string take();
  [[nodiscard]] std::uint64_t written() const { return taken_; }

  // Of the file so far.
  [[nodiscard]] std::uint64_t size() const { return taken_ + pending_.size(); }
  [[nodiscard]] std::uint64_t body_size() const { return layout_.body.length; }

  // Complete after finish().
  [[nodiscard]] const Layout& layout() const { return layout_; }

 private:
  void append(std::string_view bytes);

  Layout layout_;
  Checksum checksum_;
  std::string pending_;
  std::uint64_t taken_ = 0;
  bool finished_ = false;
};

// Writes all of it, however often the kernel takes only a part. For blocking descriptors.
[[nodiscard]] Result<void> write_all(int fd, std::string_view bytes);

}  // namespace postern::queuefile
