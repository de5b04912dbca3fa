// qmgr.h - what reaches the queue manager (public/qmgr). Notices only: a lost one costs delay, not
// mail, for qmgr scans its directories.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::qmgr {

// cleanup: a message was committed to incoming/.
struct NewMessage {
  static constexpr std::uint16_t kType = 0x0401;
  std::string queue_id;
  std::string envelope;  // an envelope run: what qmgr needs of it, recipients resolved
  std::vector<std::int64_t> state_offsets;  // in the file, one for each recipient
  std::int64_t message_size = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_id", self.queue_id);
    field("envelope", self.envelope);
    field("state_offsets", self.state_offsets);
    field("message_size", self.message_size);
  }
};

// postqueue -f, -i, postern flush, postsuper: make these due now (all when empty). Operators move
// files by themselves; this tells that it is worth looking.
struct Flush {
  static constexpr std::uint16_t kType = 0x0402;
  std::vector<std::string> queue_ids;
  bool clear_dead = true;  // forget what is known of destinations, too
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_ids", self.queue_ids);
    field("clear_dead", self.clear_dead);
  }
};

// Files were moved or removed by an operator: look at the directories again.
struct Rescan {
  static constexpr std::uint16_t kType = 0x0403;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

// cleanup asks, qmgr answers at once: how far intake lags behind (messages accepted but not yet
// taken over).
struct IntakeState {
  bool is_slow = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_slow", self.is_slow);
  }
};
struct AskIntake {
  static constexpr std::uint16_t kType = 0x0404;
  static constexpr bool kRepeatable = true;
  using Reply = IntakeState;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

}  // namespace postern::ipc::qmgr
