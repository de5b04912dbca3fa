// state.h - what has become of a recipient: one byte of the queue file, written in place.
//
// A byte cannot be torn by a crash. The values of the closed set differ from each other in at
// least four bits, so that no bit flip or two turn one into another; a byte that is none of them
// counts as kPending: mail delivered twice is better than mail lost. The file's checksum is taken
// with every state byte at kPending, so writing one does not touch it.

#pragma once

#include <cstdint>

#include "common/base/result.h"

namespace postern::queuefile {

enum class State : char {
  kPending = '.',
  kDone = 'D',      // delivered, or passed on with responsibility
  kReturned = 'x',  // failed, and the failure is in the bounce log
  kRemoved = 'K',   // taken out before the message was committed (by a milter)
};

[[nodiscard]] constexpr State parse_state(char byte) {
  switch (static_cast<State>(byte)) {
    case State::kDone:
    case State::kReturned:
    case State::kRemoved:
      return static_cast<State>(byte);
    case State::kPending:
      break;
  }
  return State::kPending;
}

// Writes one state byte at its offset in an open queue file. Not durable on its own: a crash may
// undo it, which repeats one delivery.
[[nodiscard]] Result<void> write_state(int fd, std::uint64_t state_offset, State state);

}  // namespace postern::queuefile
