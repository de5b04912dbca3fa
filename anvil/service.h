// service.h - what the processes of smtpd ask and tell of their clients.

#pragma once

#include <unordered_map>

#include "anvil/bans.h"
#include "anvil/contacts.h"
#include "anvil/counters.h"
#include "anvil/greylist.h"
#include "anvil/onlookers.h"
#include "anvil/quotas.h"
#include "common/daemon/daemon.h"
#include "common/ipc/cleanup_client.h"
#include "common/ipc/server.h"

namespace postern::anvil {

class Service {
 public:
  // `directory` is where its files are (directory.h), or -1.
  Service(daemon::Process& process, int directory);
  void start();

 private:
  [[nodiscard]] static std::uint64_t source_of(const ipc::ChannelPtr& channel);
  void configure();
  void log_statistics();
  void serve_contacts();
  void serve_bans();
  void serve_greylist();
  void serve_quotas();
  void serve_onlookers();
  void channel_closed(const ipc::ChannelPtr& channel);
  // Tells all clients whether somebody looks on.
  void tell_watched();
  void bans_changed();
  // Tells the postmaster, many bans in one message.
  void announce_ban(const std::string& client, std::string_view what);
  void send_announcement();
  void drain();

  daemon::Process& process_;
  ipc::Server server_;
  Counters counters_;
  Contacts contacts_;
  Bans bans_;
  Greylist greylist_;
  Quotas quotas_;
  Onlookers onlookers_;
  std::chrono::seconds status_update_time_{};
  loop::CallbackTimer status_timer_;
  loop::CallbackTimer idle_timer_;
  ipc::CleanupClient cleanup_;
  std::string announcement_;
  std::size_t announced_ = 0;
  loop::TimePoint next_announcement_{};
  loop::CallbackTimer announcement_timer_{[this] { send_announcement(); }};
};

}  // namespace postern::anvil
