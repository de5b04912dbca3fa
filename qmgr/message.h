// message.h - what qmgr holds of a message while it is being delivered, and while it waits.
//
// An active message is held with all its recipients; a deferred one only by its id and the time of
// its next attempt. Its envelope is read again then, which costs one read beside the attempt
// itself and keeps a million of them within 200 bytes each.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/ipc/agent.h"
#include "common/loop/loop.h"
#include "common/queuefile/envelope.h"
#include "common/queuefile/queue_dir.h"
#include "qmgr/pool.h"

namespace postern::qmgr {

enum class Progress : std::uint8_t {
  kWaiting,   // in a destination's queue or with an agent
  kDeferred,  // tried in this round, and not delivered
  kDone,      // delivered, or returned and in the bounce log
};

struct Recipient {
  std::string address;  // as the agent gets it
  std::string orig_to;
  std::string dsn_orcpt;
  std::string transport;
  std::string nexthop;
  std::uint64_t state_offset = 0;
  std::uint8_t notify = 0;
  Progress progress = Progress::kWaiting;
};

// What an agent, or a log of bounces, gets of it.
[[nodiscard]] ipc::agent::Recipient to_agent(const Recipient& recipient);

struct Message : FromPool<Message> {
  std::string id;
  // What the scheduler asks lies together.
  unsigned flights = 0;       // deliveries with agents
  unsigned jobs = 0;          // of destinations that point here
  std::size_t waiting = 0;    // recipients in Progress::kWaiting
  std::size_t remaining = 0;  // recipients not kDone
  queuefile::Queue queue = queuefile::Queue::kIncoming;
  std::string sender;
  std::string client;          // its address, for those who look on
  std::string verp_delims;     // empty, or two characters: a sender address for each recipient
  std::string content_filter;  // transport:nexthop for all recipients, FILTER of access(5)
  std::string redirect;        // one address instead of all recipients
  std::string refusal;         // queuefile::kRefused: it is returned untried
  std::string dsn_envid;
  queuefile::DsnReturn dsn_ret = queuefile::DsnReturn::kUnspecified;
  std::uint64_t size = 0;
  std::int64_t arrival_us = 0;
  std::int64_t active_us = 0;
  // Committed while this qmgr was there: nobody else can be delivering it.
  bool is_fresh = false;
  bool is_new = false;        // came with a notice: its content is what was written a moment ago
  bool has_bounces = false;   // there is a bounce log
  bool was_deferred = false;  // there is a defer log
  std::vector<ipc::agent::Recipient> expanded;  // aliases, whose expansion the sender is told of
  bool is_traced = false;      // sendmail -v: the sender is told of every recipient of this round
  bool has_trace = false;      // there is a trace log
  bool has_successes = false;  // it holds deliveries that NOTIFY=SUCCESS asks about
  bool is_forced_expire = false;
  bool is_dry_run = false;  // sendmail -bv: one attempt that delivers nothing, all of it traced
  bool is_probe = false;    // tells verify what became of it, and nobody else; one attempt
  bool is_finishing = false;
  bool was_held = false;              // an agent of an earlier queue manager had it: told once
  std::vector<Recipient> recipients;  // in the order of their state_offset
};

// The recipient whose state byte is there; nullptr if there is none. A list of ten thousand is not
// searched for each of them.
[[nodiscard]] const Recipient* find_recipient(const Message& message, std::int64_t state_offset);
[[nodiscard]] Recipient* find_recipient(Message& message, std::int64_t state_offset);

}  // namespace postern::qmgr
