// tls_client.h - what secrecy a delivery needs, asked for at each server: policy table, DANE, and
// the sessions that may be resumed.

#pragma once

#include <expected>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/ipc/sts.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/smtpclient/dane.h"
#include "common/smtpclient/destination.h"
#include "common/smtpclient/plan.h"
#include "common/smtpclient/settings.h"
#include "common/smtpclient/tls_outcome.h"
#include "common/smtpclient/tls_policy.h"
#include "common/tls/session.h"

namespace postern::smtpclient {

// What one server has to give.
struct TlsPlan {
  TlsPolicy policy{};  // what DANE has made of it
  tls::ContextPtr context{};
  tls::ConnectOptions options{};
  // A connection made under a plan of the same key serves this one too.
  std::string key{};
  // Whose policy it is, for the TLS report; an empty type: the try is in no report.
  ReportedPolicy reported{};
};
using TlsPlanPtr = std::shared_ptr<const TlsPlan>;

// Sessions of servers that we may meet again, oldest dropped first.
class TlsSessionCache {
 public:
  static constexpr std::size_t kMaxSessions = 2000;

  // Empty: none, or it is too old. A ticket is used until the server gives a new one: that others
  // could tell the two sessions for the same client's matters to people, not to mail servers.
  [[nodiscard]] std::string find(const std::string& key, std::chrono::seconds lifetime);
  void put(const std::string& key, std::string session);

 private:
  struct Entry {
    std::string session;
    loop::TimePoint since;
    std::list<std::string>::iterator place;
  };
  std::unordered_map<std::string, Entry> sessions_;
  std::list<std::string> by_age_;
};

// Asks sts for a domain's policy. Where it is a lambda, it is no coroutine itself but calls one.
using StsFinder =
    std::function<loop::Task<Result<ipc::sts::Policy>>(ipc::sts::FindPolicy question)>;

class TlsClient {
 public:
  template <typename T>
  using Answer = std::expected<T, Verdict>;  // the verdict: why nothing is sent

  void use_tables(ipc::TablesClient* tables) { tables_ = tables; }
  void use_resolver(Questioner ask) { ask_ = std::move(ask); }
  void use_sts(StsFinder find) { find_sts_ = std::move(find); }

  // main.cf's policy, or the one that the table has for the next hop.
  [[nodiscard]] loop::Task<Answer<TlsPolicy>> find_policy(SettingsPtr settings,
                                                          std::string nexthop);
  // Null: without TLS. `report` is told of what ends here, before a connection; it may be empty.
  [[nodiscard]] loop::Task<Answer<TlsPlanPtr>> plan(SettingsPtr settings, TlsPolicy policy,
                                                    Destination destination, Endpoint endpoint,
                                                    TlsReporter report);

 private:
  // The policy with what MTA-STS adds to it.
  loop::Task<Answer<TlsPolicy>> apply_sts(SettingsPtr settings, TlsPolicy policy,
                                          std::string nexthop);
  // With what smtp_tls_per_site has for next hop and server.
  loop::Task<Answer<TlsPolicy>> apply_sites(SettingsPtr settings, TlsPolicy policy,
                                            std::string domain, std::string host);
  loop::Task<Answer<Tlsa>> apply_dane(SettingsPtr settings, TlsPolicy& policy, Endpoint endpoint);
  loop::Task<Result<std::vector<dns::Tlsa>>> find_anchors(SettingsPtr settings, std::string path,
                                                          std::string nexthop);
  // False: the server is none that the MTA-STS policy names, and the domain means it.
  [[nodiscard]] static bool apply_sts_servers(const Settings& settings, TlsPolicy& policy,
                                              const Endpoint& endpoint, const std::string& domain,
                                              const TlsReporter& report);
  loop::Task<void> probe_dnssec(std::string question);

  ipc::TablesClient* tables_ = nullptr;
  Questioner ask_;
  StsFinder find_sts_;
  std::shared_ptr<TlsSessionCache> sessions_ = std::make_shared<TlsSessionCache>();
  bool has_probed_ = false;  // dnssec_probe
};

}  // namespace postern::smtpclient
