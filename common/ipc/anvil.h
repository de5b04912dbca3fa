// anvil.h - counting what clients do, over all processes of a service (private/anvil).
//
// smtpd asks only where a limit depends on the answer. Everything else is told from time to time in
// one notice (Tally), so that the statistics of anvil are whole without a wake-up per event.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::anvil {

enum class Event : std::uint8_t {
  kConnection = 0,
  kMessage = 1,
  kRecipient = 2,
  kNewTls = 3,
  kAuth = 4,
};
inline constexpr std::size_t kEvents = 5;

struct Counted {
  std::int64_t rate = 0;         // of this event in the running time unit, this one counted
  std::int64_t connections = 0;  // of this client now, in all processes that told of theirs
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("rate", self.rate);
    field("connections", self.connections);
  }
};

// Counts one event. With kConnection, `connections` is how many the asking process has of the
// client, which replaces what it said before.
struct Count {
  static constexpr std::uint16_t kType = 0x0e01;
  using Reply = Counted;
  std::string service;
  std::string client;
  Event event = Event::kConnection;
  std::int64_t connections = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("service", self.service);
    field("client", self.client);
    field("event", self.event);
    field("connections", self.connections);
  }
};

// The asking process has so many connections of the client left.
struct Connections {
  static constexpr std::uint16_t kType = 0x0e02;
  std::string service;
  std::string client;
  std::int64_t connections = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("service", self.service);
    field("client", self.client);
    field("connections", self.connections);
  }
};

struct ClientTally {
  std::string client;
  std::int64_t peak = 0;             // connections at once
  std::vector<std::int64_t> events;  // by Event
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("peak", self.peak);
    field("events", self.events);
  }
};

// Events that nobody asked about.
struct Tally {
  static constexpr std::uint16_t kType = 0x0e03;
  std::string service;
  std::vector<ClientTally> clients;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("service", self.service);
    field("clients", self.clients);
  }
};

// ---- bans (smtpd_client_ban_*)

enum class OffenceKind : std::uint8_t { kAuthFailure = 1, kReject = 2 };

struct Offence {
  static constexpr std::uint16_t kType = 0x0e21;
  std::string client;
  OffenceKind kind = OffenceKind::kAuthFailure;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("kind", self.kind);
  }
};

struct Ban {
  std::string client;
  std::int64_t until = 0;  // seconds since 1970
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("until", self.until);
  }
};

// anvil to all its clients, when it changes and to each new one: all bans there are.
struct BanList {
  static constexpr std::uint16_t kType = 0x0e22;
  std::vector<Ban> bans;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("bans", self.bans);
  }
};

struct ListBans {
  static constexpr std::uint16_t kType = 0x0e23;
  static constexpr bool kRepeatable = true;
  using Reply = BanList;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

// postern ban add, remove. An error says what is wrong.
struct ChangeBan {
  static constexpr std::uint16_t kType = 0x0e24;
  static constexpr bool kRepeatable = true;
  using Reply = Done;
  std::string client;
  bool is_removed = false;
  std::int64_t time = 0;  // seconds; 0: smtpd_client_ban_time
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("is_removed", self.is_removed);
    field("time", self.time);
  }
};

// ---- greylisting (smtpd_greylist)

enum class GreylistVerdict : std::uint8_t {
  kNew = 0,      // must come again
  kEarly = 1,    // came again too early
  kDelayed = 2,  // came again in time: passes, and is known from now on
  kKnown = 3,
  kAutoAllowed = 4,  // its network has passed often enough
  kAllowed = 5,      // by the administrator
};

struct Greylisted {
  GreylistVerdict verdict = GreylistVerdict::kNew;
  std::int64_t seconds = 0;  // still to wait, or since the first attempt
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("verdict", self.verdict);
    field("seconds", self.seconds);
  }
};

// One recipient of one client; the rules are those of the service that asks. Times in seconds.
struct Greylist {
  static constexpr std::uint16_t kType = 0x0e31;
  static constexpr bool kRepeatable = true;
  using Reply = Greylisted;
  std::string client;
  std::string sender;
  std::string recipient;
  std::int64_t delay = 0;
  std::int64_t window = 0;
  std::int64_t lifetime = 0;
  std::int64_t auto_allow_clients = 0;  // 0: never
  bool is_asked_only = false;           // nothing is remembered
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("sender", self.sender);
    field("recipient", self.recipient);
    field("delay", self.delay);
    field("window", self.window);
    field("lifetime", self.lifetime);
    field("auto_allow_clients", self.auto_allow_clients);
    field("is_asked_only", self.is_asked_only);
  }
};

struct GreylistEntry {
  std::string client;  // the network's first address
  std::string sender;
  std::string recipient;
  bool is_network = false;
  bool has_passed = false;  // of a network: allowed by the administrator
  std::int64_t passes = 0;
  std::int64_t first = 0;
  std::int64_t until = 0;  // 0: for good
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("sender", self.sender);
    field("recipient", self.recipient);
    field("is_network", self.is_network);
    field("has_passed", self.has_passed);
    field("passes", self.passes);
    field("first", self.first);
    field("until", self.until);
  }
};

struct GreylistPage {
  std::vector<GreylistEntry> entries;
  std::string next;  // where to go on; empty at the end
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("entries", self.entries);
    field("next", self.next);
  }
};

struct ListGreylist {
  static constexpr std::uint16_t kType = 0x0e32;
  static constexpr bool kRepeatable = true;
  using Reply = GreylistPage;
  std::string after;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("after", self.after);
  }
};

// A client network that is let pass for good, or no more. An error says what is wrong.
struct ChangeGreylist {
  static constexpr std::uint16_t kType = 0x0e33;
  static constexpr bool kRepeatable = true;
  using Reply = Done;
  std::string client;
  bool is_removed = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("is_removed", self.is_removed);
  }
};

struct GreylistStatistics {
  std::int64_t waiting = 0;  // triplets
  std::int64_t known = 0;
  std::int64_t networks = 0;
  std::int64_t greylisted = 0;  // recipients, since anvil has started
  std::int64_t passed = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("waiting", self.waiting);
    field("known", self.known);
    field("networks", self.networks);
    field("greylisted", self.greylisted);
    field("passed", self.passed);
  }
};

struct CountGreylist {
  static constexpr std::uint16_t kType = 0x0e34;
  static constexpr bool kRepeatable = true;
  using Reply = GreylistStatistics;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

// ---- sending quotas (smtpd_sender_quota)

enum class QuotaVerdict : std::uint8_t { kWithin = 0, kOverHour = 1, kOverDay = 2 };

struct QuotaAnswer {
  QuotaVerdict verdict = QuotaVerdict::kWithin;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("verdict", self.verdict);
  }
};

// One recipient of a sender, who has the limits of the service that asks. What is over a quota
// counts only where it is accepted all the same.
struct Quota {
  static constexpr std::uint16_t kType = 0x0e41;
  static constexpr bool kRepeatable = true;  // rather one too many than one that nobody counts
  using Reply = QuotaAnswer;
  std::string sender;         // "login:alice", "sender:@home.test"
  std::int64_t per_hour = 0;  // 0: no limit
  std::int64_t per_day = 0;
  bool is_accepted_over = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("sender", self.sender);
    field("per_hour", self.per_hour);
    field("per_day", self.per_day);
    field("is_accepted_over", self.is_accepted_over);
  }
};

// Of one sender, for an administrator.
struct QuotaCount {
  std::string sender;
  std::int64_t in_hour = 0;  // recipients in the running hour
  std::int64_t in_day = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("sender", self.sender);
    field("in_hour", self.in_hour);
    field("in_day", self.in_day);
  }
};

struct QuotaPage {
  std::vector<QuotaCount> counts;  // by name
  std::string next;                // where to go on; empty at the end
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("counts", self.counts);
    field("next", self.next);
  }
};

struct ListQuotas {
  static constexpr std::uint16_t kType = 0x0e42;
  static constexpr bool kRepeatable = true;
  using Reply = QuotaPage;
  std::string after;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("after", self.after);
  }
};

// The sender begins anew; an empty name means all of them. An error says that there is no such one.
struct ResetQuota {
  static constexpr std::uint16_t kType = 0x0e43;
  static constexpr bool kRepeatable = true;
  using Reply = Done;
  std::string sender;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("sender", self.sender);
  }
};

// ---- first contact (postscreen): who has passed which test, and until when

inline constexpr std::size_t kContactTests = 5;

struct Contact {
  bool is_known = false;
  std::vector<std::int64_t> passed_until;  // by test, seconds since 1970; 0: not passed
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_known", self.is_known);
    field("passed_until", self.passed_until);
  }
};

struct FindContact {
  static constexpr std::uint16_t kType = 0x0e11;
  static constexpr bool kRepeatable = true;
  using Reply = Contact;
  std::string client;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
  }
};

struct SaveContact {
  static constexpr std::uint16_t kType = 0x0e12;
  std::string client;
  std::vector<std::int64_t> passed_until;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("client", self.client);
    field("passed_until", self.passed_until);
  }
};

struct Cleaned {
  std::int64_t retained = 0;
  std::int64_t dropped = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("retained", self.retained);
    field("dropped", self.dropped);
  }
};

// Forgets contacts whose last test has expired that long ago.
struct CleanContacts {
  static constexpr std::uint16_t kType = 0x0e13;
  static constexpr bool kRepeatable = true;
  using Reply = Cleaned;
  std::int64_t retention = 0;  // seconds
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("retention", self.retention);
  }
};

// ---- onlookers (postern trace --live)

// From now on the connection gets a SessionLine for each line that smtpd writes of its clients.
struct WatchSessions {
  static constexpr std::uint16_t kType = 0x0e51;
  static constexpr bool kRepeatable = true;
  using Reply = Done;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

// anvil to all its clients, when the first one looks on and when nobody does any more.
struct Watched {
  static constexpr std::uint16_t kType = 0x0e52;
  bool is_watched = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_watched", self.is_watched);
  }
};

// smtpd to anvil while somebody looks on, and anvil to those who do.
struct SessionLine {
  static constexpr std::uint16_t kType = 0x0e53;
  std::string service;
  std::string text;          // as in the log
  std::int64_t dropped = 0;  // lines that were dropped before this one
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("service", self.service);
    field("text", self.text);
    field("dropped", self.dropped);
  }
};

}  // namespace postern::ipc::anvil
