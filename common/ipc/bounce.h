// bounce.h - what qmgr asks of bounce, defer and trace (private/bounce and kin).

#pragma once

#include <string>
#include <vector>

#include "common/ipc/agent.h"
#include "common/ipc/message.h"

namespace postern::ipc::bounce {

// One undeliverable (log "bounce"), delayed ("defer") or traced ("trace") recipient. The answer
// comes after the record is on disk.
struct Append {
  static constexpr std::uint16_t kType = 0x0601;
  using Reply = Done;
  std::string log;  // "bounce", "defer", "trace"
  std::string queue_id;
  std::vector<agent::Recipient> recipients;
  std::vector<agent::RecipientReport> reports;  // one for each recipient
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("log", self.log);
    field("queue_id", self.queue_id);
    field("recipients", self.recipients);
    field("reports", self.reports);
  }
};

enum class Kind : std::uint8_t {
  kFailure = 1,
  kDelay = 2,
  kSuccess = 3,
  kTrace = 4,  // sendmail -v: what became of every recipient
  // kSuccess, also to whom the delay of this message was announced (confirm_delay_cleared).
  kDelayCleared = 5,
};

struct Sent {
  std::string queue_id;  // of the notification; empty when none was due
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_id", self.queue_id);
  }
};

// Makes the notification that the log of this message calls for, hands it to cleanup, and removes
// the log (kFailure, kSuccess, kTrace). The queue file's descriptor comes along. Answered when the
// notification is committed; an error leaves the log, and qmgr asks again later.
struct Notify {
  static constexpr std::uint16_t kType = 0x0602;
  using Reply = Sent;
  Kind kind = Kind::kFailure;
  std::string queue_id;
  std::string sender;
  std::string dsn_envid;
  std::int64_t dsn_ret = 0;  // queuefile::DsnReturn as its character, 0 when not said
  std::int64_t arrival_us = 0;
  bool is_expired = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
    field("queue_id", self.queue_id);
    field("sender", self.sender);
    field("dsn_envid", self.dsn_envid);
    field("dsn_ret", self.dsn_ret);
    field("arrival_us", self.arrival_us);
    field("is_expired", self.is_expired);
  }
};

// The logs of a message that is gone or starts anew (postsuper -d, -r, a new round of deferrals).
struct Forget {
  static constexpr std::uint16_t kType = 0x0603;
  using Reply = Done;
  std::string log;
  std::string queue_id;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("log", self.log);
    field("queue_id", self.queue_id);
  }
};

}  // namespace postern::ipc::bounce
