// client_limits.h - how many connections, messages and so on one client may have.
//
// The part of this process is counted here. anvil is asked where an answer depends on all
// processes: events with a rate limit, and connections once this process alone has its share of
// smtpd_client_connection_count_limit. All other events go to anvil's statistics in one notice
// every few seconds. Where no limit is set, no command waits for another process.

#pragma once

#include <array>
#include <string>

#include "common/base/keyed_hash.h"
#include "common/ipc/anvil.h"
#include "common/ipc/client.h"
#include "common/loop/task.h"
#include "smtpd/settings.h"

namespace postern::smtpd {

// What one process knows of one client; lives as long as it has a connection or something to tell.
struct ClientEntry {
  std::string client;
  unsigned connections = 0;
  std::int64_t peak = 0;
  std::array<std::int64_t, ipc::anvil::kEvents> events{};  // not told yet
  bool is_shared = false;  // anvil knows how many connections it has here
};

class ClientLimits {
 public:
  // `workers`: so many processes may serve the clients of `service`.
  ClientLimits(std::string service, std::int64_t workers);

  // Counts a connection until disconnected(). `counted` has its numbers where a limit is
  // exceeded, which is the answer, or a rate of 0 and the number here.
  struct Verdict {
    bool too_many = false;  // at once
    bool too_fast = false;  // in the time unit
    std::int64_t connections = 0;
    std::int64_t rate = 0;
  };
  [[nodiscard]] loop::Task<Verdict> connected(ClientEntry& entry, const Settings& settings);
  void disconnected(ClientEntry& entry);

  // Counts an event; its rate where that is above `limit` (0: none), else 0.
  [[nodiscard]] loop::Task<std::int64_t> count(ClientEntry& entry, ipc::anvil::Event event,
                                               std::int64_t limit);

  // Counts a recipient of a sender with a quota. Without an answer it is within.
  [[nodiscard]] loop::Task<ipc::anvil::QuotaVerdict> count_quota(ipc::anvil::Quota question);

  // The entry of an address; bits beyond the prefix length of settings do not count.
  [[nodiscard]] ClientEntry& entry_of(const config::IpAddress& address, const Settings& settings);

  // Keeps a connection to anvil from now on, which tells of bans and of who looks on.
  void connect() { (void)anvil_.channel_now(); }
  [[nodiscard]] bool is_banned(const ClientEntry& entry) const;
  // A failed login or a refusal, where there are bans for that.
  void report(const ClientEntry& entry, ipc::anvil::OffenceKind kind);

  [[nodiscard]] ipc::Client& anvil() { return anvil_; }
  [[nodiscard]] const std::string& service() const { return service_; }

 private:
  void note(ClientEntry& entry, ipc::anvil::Event event);
  void tell();
  void show_lines(bool is_watched);
  void complain(const Error& error);

  std::string service_;
  std::int64_t workers_;
  ipc::Client anvil_{"private/anvil"};
  StringMap<ClientEntry> entries_;
  StringMap<std::int64_t> bans_;  // until when, as anvil told last
  loop::CallbackTimer tell_timer_;
  bool is_telling_ = false;
  loop::TimePoint complained_{};
};

}  // namespace postern::smtpd
