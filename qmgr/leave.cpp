// leave.cpp - how qmgr makes room for its successor.
//
// Nothing is taken in or offered any more: new mail waits in incoming/, where the successor looks
// first. The outcomes of what agents have are still noted, as long as they come. What takes longer
// stays with its agent: the lock on its file keeps the successor from offering it again, and the
// agent reports to him. He waits for the lock on active/, so the two never work at the same time.

#include <algorithm>

#include "qmgr/manager.h"

namespace postern::qmgr {

namespace {

using namespace std::chrono_literals;

// Mail stands still as long as we wait.
constexpr auto kLongest = 5s;
constexpr auto kQuiet = 500ms;
constexpr auto kLook = 5ms;

}  // namespace

void Manager::leave() {
  is_leaving_ = true;
  server_.stop_accepting();
  leave_at_ = loop::Clock::now() + kLongest;
  leave_when_quiet();
}

void Manager::leave_when_quiet() {
  std::size_t under_way = 0;
  active_.for_each([&](const Message& message) {
    under_way += message.flights + (message.is_finishing ? 1 : 0);
  });
  const auto now = loop::Clock::now();
  if (under_way != under_way_) quiet_since_ = now;
  under_way_ = under_way;
  if (under_way == 0 || now >= std::min(leave_at_, quiet_since_ + kQuiet)) {
    return process_.finish();
  }
  leave_timer_.arm(now + kLook);
}

}  // namespace postern::qmgr
