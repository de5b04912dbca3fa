#include "common/tls/handshake_place.h"

#include <algorithm>

#include "common/tls/session.h"

namespace postern::tls {

namespace {

struct Places {
  unsigned taken = 0;
  loop::Condition freed;
};

Places& places() {
  static thread_local Places of_thread;
  return of_thread;
}

}  // namespace

loop::Task<bool> HandshakePlace::take(loop::Deadline deadline) {
  Places& all = places();
  if (all.taken < kMaxHandshakes) {
    ++all.taken;
  } else {
    // A place that is left goes to the first who waits, without being free in between.
    const loop::Wait wait = co_await all.freed.wait(deadline);
    if (wait != loop::Wait::kReady) co_return false;
  }
  is_taken_ = true;
  until_ = loop::Loop::current().after(kPlaceTime);
  co_return true;
}

void HandshakePlace::leave() {
  if (!is_taken_) return;
  is_taken_ = false;
  Places& all = places();
  if (all.freed.has_waiters()) {
    all.freed.notify_one();
  } else {
    --all.taken;
  }
}

loop::Deadline HandshakePlace::limit(loop::Deadline deadline) const {
  return is_taken_ ? std::min(deadline, until_) : deadline;
}

}  // namespace postern::tls
