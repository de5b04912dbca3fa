// agent.h - between qmgr and the delivery agents (private/smtp, private/local, ...).
//
// qmgr connects; the agent says how many deliveries it takes (Credits), qmgr never offers more. A
// delivery is a notice with a read-only descriptor of the queue file (shared flock held by it). The
// agent reports recipients as they are done, in one or more Report requests, the last of which
// gives the credit back. A report is kept until qmgr has answered it, and repeated to a restarted
// qmgr (Leftover) before new work is taken.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::agent {

// agent to qmgr, first of all and when it changes.
struct Credits {
  static constexpr std::uint16_t kType = 0x0501;
  std::int64_t deliveries = 0;  // at once, over this connection
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("deliveries", self.deliveries);
  }
};

struct Recipient {
  std::int64_t state_offset = 0;  // names the recipient within its message
  std::string address;            // as the agent is to use it
  std::string orig_to;
  std::string dsn_orcpt;
  std::int64_t notify = 0;  // queuefile::Notify bits
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("state_offset", self.state_offset);
    field("address", self.address);
    field("orig_to", self.orig_to);
    field("dsn_orcpt", self.dsn_orcpt);
    field("notify", self.notify);
  }
};

struct Deliver {
  static constexpr std::uint16_t kType = 0x0502;
  std::int64_t delivery = 0;  // unique on this connection
  std::string queue_id;
  std::string queue;  // "active"
  std::string transport;
  std::string nexthop;
  std::string sender;
  std::vector<Recipient> recipients;
  std::int64_t message_size = 0;
  std::int64_t arrival_us = 0;       // since the epoch, for delay= and delays=
  std::int64_t active_us = 0;        // when qmgr took it into the active queue
  bool is_busy_destination = false;  // one delivery follows the other: connections are kept
  bool is_fresh = false;  // committed in this run of the system: no checksum needed again
  // Address verification: find out whether the recipient would be taken, and deliver nothing.
  bool is_probe = false;
  bool is_dry_run = false;  // the same for sendmail -bv: what is behind an alias is told, too
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("delivery", self.delivery);
    field("queue_id", self.queue_id);
    field("queue", self.queue);
    field("transport", self.transport);
    field("nexthop", self.nexthop);
    field("sender", self.sender);
    field("recipients", self.recipients);
    field("message_size", self.message_size);
    field("arrival_us", self.arrival_us);
    field("active_us", self.active_us);
    field("is_fresh", self.is_fresh);
    field("is_busy_destination", self.is_busy_destination);
    field("is_probe", self.is_probe);
    field("is_dry_run", self.is_dry_run);
  }
};

enum class Outcome : std::uint8_t {
  kDelivered = 1,
  kDeferred = 2,
  kBounced = 3,
  // Another agent is to deliver to `address`: `text` is its transport:nexthop. Nothing is on record
  // of it, so that a restarted qmgr asks the first agent again.
  kRerouted = 4,
};

// What a report says of its recipient. An agent that has delivered to several places for one of
// them (local, behind an alias) says so beside what became of the recipient as a whole.
enum class Share : std::uint8_t {
  kWhole = 0,
  // One of the places: named in what the sender is told, decides nothing.
  kPart = 1,
  // The recipient as a whole, of which the parts speak to the sender.
  kSum = 2,
  // Only for who asked to hear of success: "expanded", "delivered". Decides nothing.
  kNote = 3,
};

struct RecipientReport {
  std::int64_t state_offset = 0;
  Outcome outcome = Outcome::kDeferred;
  std::string status;           // "4.4.1"
  std::string text;             // as in the log line and the notification
  std::string remote_mta;       // "dns; mx.example.org", or empty
  std::string diagnostic_type;  // "smtp", "x-unix", "X-Postfix"
  std::string diagnostic;       // "550 5.1.1 no such user"; empty: text
  std::string action;           // "delivered", "relayed", "expanded", "failed", "delayed"
  std::string address;          // of the final recipient, when an alias led to another; or empty
  Share share = Share::kWhole;
  std::string owner;  // of a list: hears of this failure in the sender's place; or empty
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("state_offset", self.state_offset);
    field("outcome", self.outcome);
    field("status", self.status);
    field("text", self.text);
    field("remote_mta", self.remote_mta);
    field("diagnostic_type", self.diagnostic_type);
    field("diagnostic", self.diagnostic);
    field("action", self.action);
    field("address", self.address);
    field("share", self.share);
    field("owner", self.owner);
  }
};

struct Report {
  static constexpr std::uint16_t kType = 0x0503;
  using Reply = Done;
  std::int64_t delivery = 0;  // 0 in a leftover of an earlier connection
  std::string queue_id;
  std::vector<RecipientReport> recipients;
  bool is_last = true;
  // The next hop itself could not be reached: feedback for its window, text for the queue listing.
  bool is_destination_failure = false;
  // The file is damaged (checksum): set it aside.
  bool is_damaged = false;
  std::string damage;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("delivery", self.delivery);
    field("queue_id", self.queue_id);
    field("recipients", self.recipients);
    field("is_last", self.is_last);
    field("is_destination_failure", self.is_destination_failure);
    field("is_damaged", self.is_damaged);
    field("damage", self.damage);
  }
};

}  // namespace postern::ipc::agent
