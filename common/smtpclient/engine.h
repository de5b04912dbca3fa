// engine.h - delivers one job after the other, or many at once: finds the servers of a next hop,
// walks along them, keeps connections.
//
//     for each destination of the next hop, then of smtp_fallback_relay
//       a kept connection, if there is one
//       look-up: hosts by preference, cut at ourselves, bounded
//       each address: connect, hello, transaction, until no recipient is left
//
// A server that cannot be reached or answers 4xx is followed by the next one; what the last one
// says is reported. A job costs one coroutine; jobs do not wait for each other.

#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/ipc/resolver.h"
#include "common/loop/task.h"
#include "common/smtpclient/auth.h"
#include "common/smtpclient/connection_cache.h"
#include "common/smtpclient/content.h"
#include "common/smtpclient/job.h"
#include "common/smtpclient/require_tls.h"
#include "common/smtpclient/route.h"
#include "common/smtpclient/settings.h"
#include "common/smtpclient/transaction.h"

namespace postern::smtpclient {

// Asks the resolver. Where it is a lambda, it is no coroutine itself but calls one.
using HostFinder =
    std::function<loop::Task<Result<ipc::resolver::Hosts>>(ipc::resolver::FindHosts request)>;

class Engine {
 public:
  Engine(SettingsPtr settings, HostFinder find_hosts);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // For smtp_generic_maps, smtp_header_checks and smtp_tls_policy_maps; without it they have no
  // effect. Outlives this.
  void use_tables(ipc::TablesClient* tables) {
    tables_ = tables;
    tls_.use_tables(tables);
    login_.use_tables(tables);
  }
  // For tokens to log in with. Outlives this.
  void use_auth(ipc::Client* daemon) { login_.use_auth(daemon); }
  // For TLSA records; without it there is no DANE.
  void use_resolver(Questioner ask) { tls_.use_resolver(std::move(ask)); }
  // For smtp_mta_sts_enable.
  void use_sts(StsFinder find) { tls_.use_sts(std::move(find)); }

  // For smtp_tlsrpt_enable.
  void use_tls_reports(TlsReporter report) { report_ = std::move(report); }

  // For notify_classes = protocol: a subject, and whole lines.
  using NoticeSender = std::function<void(std::string subject, std::string text)>;
  void use_notices(NoticeSender send) { send_notice_ = std::move(send); }

  // For jobs that begin from now on.
  void configure(SettingsPtr settings);

  // When it ends every recipient is reported. The job outlives it.
  [[nodiscard]] loop::Task<void> deliver(Job& job);

  // No more is to come: kept connections are closed.
  void close_idle() { cache_.clear(); }
  [[nodiscard]] std::size_t idle_connections() const { return cache_.size(); }

 private:
  // What one job carries along its way.
  struct Walk {
    Job& job;
    SettingsPtr settings;
    Verdict why{};       // the last failure that left recipients unreported
    TlsPolicy policy{};  // of the destination
    RequireTls require_tls = RequireTls::kDisable;  // of job and destination
    bool is_last_destination = false;
    bool is_ours = false;  // we are one of its mail servers: nobody else is asked
    bool is_loop = false;  // and the best one
    bool is_always_kept =
        false;           // the destination's connections are (smtp_connection_cache_destinations)
    std::string used{};  // the endpoint of a kept connection that was tried
  };
  // How often a destination is delivered to: whether its connections are worth keeping.
  struct Traffic {
    std::size_t under_way = 0;
    std::size_t burst = 0;  // deliveries since the last pause
    loop::TimePoint last{};
  };

  // sender_bind_address_maps
  [[nodiscard]] loop::Task<bool> find_source(Walk& walk);
  loop::Task<void> try_destination(Walk& walk, std::string text);
  // False: walk.why says why nothing can be sent now.
  [[nodiscard]] loop::Task<bool> require_tls(Walk& walk, const Destination& destination);
  loop::Task<void> try_kept(Walk& walk, std::string key);
  loop::Task<void> try_targets(Walk& walk, Destination destination, std::string key,
                               std::vector<Endpoint> targets);
  loop::Task<Route> find_route(Walk& walk, Destination destination);
  loop::Task<ConnectionPtr> connect(Walk& walk, Endpoint endpoint);
  // A connection that may be used for mail; null: recipients were judged, or wait for the next.
  loop::Task<ConnectionPtr> greeted(Walk& walk, ConnectionPtr connection, TlsPlanPtr plan,
                                    const Destination& destination, bool is_final);
  // smtp_discard_ehlo_keyword_address_maps; false where it cannot be asked.
  [[nodiscard]] loop::Task<bool> find_discarded(const Settings& settings, Connection& connection);
  // smtp_pix_workarounds and _maps: whether EHLO is to be done without.
  [[nodiscard]] loop::Task<bool> avoids_esmtp(const Walk& walk, const Endpoint& endpoint);
  // Where the server has not understood us.
  void tell_postmaster(const Settings& settings, Connection& connection) const;
  loop::Task<bool> is_watched(const Walk& walk, const Destination& destination,
                              const Endpoint& endpoint) const;
  [[nodiscard]] static bool keeps_require_tls(Walk& walk, Connection& connection);
  [[nodiscard]] bool is_reported(const Walk& walk, const Destination& destination) const;
  void report_try(const Walk& walk, Connection& connection, const Destination& destination) const;
  void take_refusal(Walk& walk, const Verdict& refusal, bool is_final);
  loop::Task<Transaction::End> transact(Walk& walk, Connection& connection, bool is_final,
                                        bool is_kept_when_lost = false);
  void finish_with(const std::string& key, const Walk& walk, ConnectionPtr connection,
                   Transaction::End end);
  [[nodiscard]] loop::Task<bool> is_kept_always(const Settings& settings,
                                                const Destination& destination);
  [[nodiscard]] bool is_worth_keeping(const std::string& key, const Walk& walk) const;
  void enter(const std::string& key);
  void leave(const std::string& key);

  SettingsPtr settings_;
  HostFinder find_hosts_;
  ipc::TablesClient* tables_ = nullptr;
  TlsClient tls_;
  LoginClient login_;
  TlsReporter report_;
  NoticeSender send_notice_;
  ConnectionCache cache_;
  BufferPool buffers_;
  std::unordered_map<std::string, Traffic> traffic_;
};

}  // namespace postern::smtpclient
