// qmgr.h - what reaches the queue manager (public/qmgr). Notices only: a lost one costs delay, not
// mail, for qmgr scans its directories.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/agent.h"
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

// postern flush --wait, postern trace --live: from now on the connection gets an Event for all that
// happens (is_live), or for all that is due or under way now, after a flush of everything, and a
// kFlushed when the round of each of those messages has ended.
struct Watching {
  std::int64_t messages = 0;  // that will be waited for
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("messages", self.messages);
  }
};
struct Watch {
  static constexpr std::uint16_t kType = 0x0405;
  using Reply = Watching;
  bool is_live = false;
  bool is_flush = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_live", self.is_live);
    field("is_flush", self.is_flush);
  }
};

enum class EventKind : std::uint8_t {
  kArrived = 1,     // a new message; recipient is the first one
  kTriedAgain = 2,  // a deferred one that is due
  kOutcome = 3,     // of one recipient
  kRemoved = 4,     // nothing is left of it to do
  kDeferred = 5,    // it waits for the next attempt
  kGone = 6,        // moved or removed by an operator, or set aside
  kFlushed = 7,     // the flush is over
};

struct Event {
  static constexpr std::uint16_t kType = 0x0406;
  EventKind kind = EventKind::kOutcome;
  std::string queue_id;
  std::string sender;
  std::string recipient;
  std::string transport;
  agent::Outcome outcome = agent::Outcome::kDeferred;
  std::string status;
  std::string text;
  std::string remote_mta;
  std::int64_t size = 0;
  std::int64_t recipients = 0;
  std::int64_t dropped = 0;  // events that were dropped before this one
  std::string client;        // the address that the message came from
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
    field("queue_id", self.queue_id);
    field("sender", self.sender);
    field("recipient", self.recipient);
    field("transport", self.transport);
    field("outcome", self.outcome);
    field("status", self.status);
    field("text", self.text);
    field("remote_mta", self.remote_mta);
    field("size", self.size);
    field("recipients", self.recipients);
    field("dropped", self.dropped);
    field("client", self.client);
  }
};

}  // namespace postern::ipc::qmgr
