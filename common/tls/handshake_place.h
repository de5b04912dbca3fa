// handshake_place.h - one of the places for handshakes under way in this thread.
//
// A place is kept until the handshake ends, or for kPlaceTime: a peer that is slow, perhaps on
// purpose, goes on without one, and those who wait begin.

#pragma once

#include "common/loop/loop.h"
#include "common/loop/task.h"

namespace postern::tls {

class HandshakePlace {
 public:
  static constexpr std::chrono::milliseconds kPlaceTime{500};

  HandshakePlace() = default;
  ~HandshakePlace() { leave(); }
  HandshakePlace(const HandshakePlace&) = delete;
  HandshakePlace& operator=(const HandshakePlace&) = delete;

  // Waits for a place, first come first served; false at the deadline.
  [[nodiscard]] loop::Task<bool> take(loop::Deadline deadline);
  void leave();
  // Until when a wait may last before leave() is due; the deadline itself without a place.
  [[nodiscard]] loop::Deadline limit(loop::Deadline deadline) const;

 private:
  bool is_taken_ = false;
  loop::Deadline until_{};
};

}  // namespace postern::tls
