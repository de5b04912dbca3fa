// cleanup.h - how smtpd, pickup, bounce and local hand a message to cleanup (public/cleanup).
//
// A small message (content up to kSmallContent) goes in one request, Submit. A larger one is a
// transaction: Open, raw content frames, Finish; the client chooses the transaction number, unique
// on its connection. `envelope` is an envelope run of common/queuefile (without resolution; the
// addresses as received, internal form). Content has LF line ends and no dot stuffing.
//
// The answer to Submit and Finish is the point where the message becomes ours: it is on disk.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"
#include "common/ipc/milter.h"

namespace postern::ipc::cleanup {

inline constexpr std::size_t kSmallContent = std::size_t{64} << 10;
// Content that one transaction may have sent beyond what cleanup has acknowledged.
inline constexpr std::size_t kContentWindow = std::size_t{256} << 10;

// Why a message was not taken; the numbers of reply and status code come with it.
struct Outcome {
  std::string queue_id;  // may be set also when refused
  bool is_accepted = false;
  std::int64_t reply_code = 0;  // 4xx or 5xx when not accepted
  std::string status;           // "5.3.4"
  std::string text;             // "Message size exceeds fixed limit"
  bool is_logged = false;       // a line of cleanup's own says why it was refused
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_id", self.queue_id);
    field("is_accepted", self.is_accepted);
    field("reply_code", self.reply_code);
    field("status", self.status);
    field("text", self.text);
    field("is_logged", self.is_logged);
  }
};

// What was decided when the content had passed: actions of access tables and policy services.
struct End {
  bool is_discard = false;  // accepted, and delivered to nobody
  std::string filter;       // transport:nexthop; empty: as the envelope has it
  std::string redirect;     // one address instead of all recipients; empty: as above
  std::vector<std::string> bcc;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_discard", self.is_discard);
    field("filter", self.filter);
    field("redirect", self.redirect);
    field("bcc", self.bcc);
  }
};

// receive_override_options of the service that took the message in, as bits.
enum Override : std::uint8_t {
  kNoAddressMappings = 1,
  kNoHeaderBodyChecks = 2,
  kNoMilters = 4,
};
[[nodiscard]] std::int64_t parse_overrides(const std::vector<std::string>& words);

struct Submit {
  static constexpr std::uint16_t kType = 0x0301;
  using Reply = Outcome;
  std::string queue_id;  // as Opened gave it; empty: cleanup makes one
  std::string envelope;
  std::string content;
  bool is_hold = false;      // HOLD action: goes to hold/
  bool is_internal = false;  // from bounce, local or pickup: reserved slots
  std::int64_t session = 0;  // for the JSON log
  std::string prepend;       // header fields to stand above all others, each with its line end
  End end;
  std::int64_t overrides = 0;
  milter::Handover milters;  // their descriptors come with the message
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_id", self.queue_id);
    field("envelope", self.envelope);
    field("content", self.content);
    field("is_hold", self.is_hold);
    field("is_internal", self.is_internal);
    field("session", self.session);
    field("prepend", self.prepend);
    field("end", self.end);
    field("overrides", self.overrides);
    field("milters", self.milters);
  }
};

struct Opened {
  std::string queue_id;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("queue_id", self.queue_id);
  }
};

// Asks for a queue id before the message is there: for a log line, a policy service or a milter
// that wants it early. Costs nothing to forget again.
struct NewId {
  static constexpr std::uint16_t kType = 0x0302;
  static constexpr bool kRepeatable = true;
  using Reply = Opened;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

struct Open {
  static constexpr std::uint16_t kType = 0x0303;
  using Reply = Opened;
  std::uint32_t transaction = 0;
  std::string queue_id;
  std::string envelope;
  bool is_hold = false;
  bool is_internal = false;
  std::int64_t session = 0;
  std::string prepend;
  std::int64_t overrides = 0;
  milter::Handover milters;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("transaction", self.transaction);
    field("queue_id", self.queue_id);
    field("envelope", self.envelope);
    field("is_hold", self.is_hold);
    field("is_internal", self.is_internal);
    field("session", self.session);
    field("prepend", self.prepend);
    field("overrides", self.overrides);
    field("milters", self.milters);
  }
};

// Raw notice frame: id is the transaction, payload the content.
inline constexpr std::uint16_t kContentType = 0x0304;

// cleanup to its client: so many bytes of content have been taken in all.
struct Taken {
  static constexpr std::uint16_t kType = 0x0305;
  std::uint32_t transaction = 0;
  std::int64_t bytes = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("transaction", self.transaction);
    field("bytes", self.bytes);
  }
};

struct Finish {
  static constexpr std::uint16_t kType = 0x0306;
  using Reply = Outcome;
  std::uint32_t transaction = 0;
  bool is_hold = false;
  End end;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("transaction", self.transaction);
    field("is_hold", self.is_hold);
    field("end", self.end);
  }
};

// The client went away in the middle: nothing is kept.
struct Abort {
  static constexpr std::uint16_t kType = 0x0307;
  std::uint32_t transaction = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("transaction", self.transaction);
  }
};

// cleanup to its clients, when it changes: whether new messages would be refused or should wait.
struct Pressure {
  static constexpr std::uint16_t kType = 0x0308;
  bool is_disk_full = false;    // queue_minfree: 452 at MAIL
  std::int64_t free_bytes = 0;  // in the queue's file system
  bool is_intake_slow = false;  // in_flow_delay
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_disk_full", self.is_disk_full);
    field("free_bytes", self.free_bytes);
    field("is_intake_slow", self.is_intake_slow);
  }
};

}  // namespace postern::ipc::cleanup
