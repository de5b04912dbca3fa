#include "common/smtpclient/engine.h"

#include <algorithm>
#include <random>

#include "common/base/text.h"
#include "common/config/param.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/smtpclient/source_address.h"
#include "common/sys/socket.h"

namespace postern::smtpclient {

namespace {

// So many deliveries, each so soon after another, make a destination worth keeping connections to,
// whatever the queue manager sees of it: a few messages at once have one each, as from Postfix.
constexpr std::chrono::milliseconds kBurst{500};
constexpr std::size_t kBurstSize = 20;
constexpr std::size_t kMaxTraffic = 10'000;

std::size_t random_below(std::size_t limit) {
  static thread_local std::mt19937 generator{std::random_device{}()};
  return std::uniform_int_distribution<std::size_t>(0, limit - 1)(generator);
}

// RFC 8689 4.1: whatever the policies say, delivery goes before secrecy.
void make_optional(TlsPolicy& policy, const config::TlsParams& params) {
  if (policy.level == TlsLevel::kNone) return;
  policy = {};
  policy.level = TlsLevel::kMay;
  policy.protocols = params.smtp_tls_protocols;
  policy.ciphers = params.smtp_tls_ciphers;
  policy.exclude = params.smtp_tls_exclude_ciphers;
}

// RFC 8689 4.2: such mail goes back rather than through what anybody could stand in for.
Verdict unverifiable(const Endpoint& endpoint) {
  Verdict why = own_failure(
      "5.7.10", fmt::format("REQUIRETLS was asked for, but host {} cannot be verified: neither "
                            "DANE nor MTA-STS says who it is",
                            endpoint.host()));
  why.relay = endpoint.relay();
  return why;
}

// A kept connection is as secret as the plan asks, and with the same server.
bool serves(const Connection& kept, const TlsPlanPtr& plan) {
  if (plan == nullptr || kept.plan == nullptr) return plan == kept.plan;
  return kept.plan->key == plan->key;
}

// A handshake that failed once may succeed later; only then, and where the policy bears it, is no
// secrecy better than no mail (postconf(5) smtp_tls_security_level, "may").
bool may_go_plain(const Job& job, const TlsPlan& plan, const Settings& settings) {
  if (plan.policy.level != TlsLevel::kMay || settings.tls.params.smtp_tls_wrappermode) return false;
  if (job.is_tls_optional()) return true;
  return job.age() >= settings.minimal_backoff_time;
}

// best_mx_transport: without a next hop of its own it gets that of the mail.
void pass_to(std::string transport, Job& job) {
  if (transport.find(':') == std::string::npos) transport += ':';
  if (transport.ends_with(':')) transport += job.nexthop();
  for (std::size_t i = 0; i < job.recipients(); ++i) {
    if (!job.is_reported(i)) job.reroute(i, transport);
  }
}

}  // namespace

Engine::Engine(SettingsPtr settings, HostFinder find_hosts)
    : settings_(std::move(settings)), find_hosts_(std::move(find_hosts)), cache_(settings_) {}

void Engine::configure(SettingsPtr settings) {
  settings_ = std::move(settings);
  cache_.configure(settings_);
}

loop::Task<void> Engine::deliver(Job& job) {
  Walk walk{job, settings_};
  if (!walk.settings->params.sender_bind_address_maps.empty()) {
    const bool has_source = co_await find_source(walk);
    if (!has_source) co_return;
  }
  std::vector<std::string> destinations = split_nexthop(job.nexthop());
  for (const auto& relay : walk.settings->params.smtp_fallback_relay) {
    if (std::ranges::find(destinations, relay) == destinations.end()) destinations.push_back(relay);
  }
  for (std::size_t i = 0; i < destinations.size() && job.unreported() > 0; ++i) {
    walk.is_last_destination = i + 1 == destinations.size();
    co_await try_destination(walk, destinations[i]);
    // A loop is ours to end: the fallback relay would only send it back.
    if (walk.is_ours || walk.why.status == "5.4.6") break;
  }
  if (job.unreported() == 0) co_return;
  if (walk.why.status.empty()) {
    walk.why = own_failure("4.3.5", "no destination in \"" + job.nexthop() + "\"");
  }
  if (walk.is_loop && !walk.settings->params.best_mx_transport.empty()) {
    pass_to(walk.settings->params.best_mx_transport, job);
    co_return;
  }
  job.mark_connected();
  if (walk.why.is_temporary()) job.mark_destination_failure();
  for (std::size_t i = 0; i < job.recipients(); ++i) {
    if (!job.is_reported(i)) job.failed(i, walk.why);
  }
}

// False: the recipients were judged.
loop::Task<bool> Engine::find_source(Walk& walk) {
  auto own = co_await settings_for_sender(tables_, walk.settings, walk.job.sender(), random_below);
  if (own) {
    walk.settings = *std::move(own);
    co_return true;
  }
  log::warning("{}: sender_bind_address_maps: {}", walk.job.queue_id(), own.error().text);
  const Verdict why = own_failure("4.3.5", "source address: server configuration error");
  walk.job.mark_connected();
  for (std::size_t i = 0; i < walk.job.recipients(); ++i) walk.job.failed(i, why);
  co_return false;
}

loop::Task<void> Engine::try_destination(Walk& walk, std::string text) {
  const Settings& settings = *walk.settings;
  auto destination = parse_destination(text, settings.protocol, settings.params.smtp_tcp_port);
  if (!destination) {
    log::warning("{}: {}", walk.job.queue_id(), destination.error().text);
    walk.why = own_failure("4.3.5", "mail transport: " + destination.error().text);
    co_return;
  }
  walk.policy = {};
  if (!destination->is_unix() && settings.tls.is_used()) {
    auto policy = co_await tls_.find_policy(walk.settings, text);
    if (!policy) {
      walk.why = policy.error();
      co_return;
    }
    walk.policy = *std::move(policy);
    // Wrapper mode knows no other way.
    if (walk.job.is_tls_optional() && !settings.tls.params.smtp_tls_wrappermode) {
      make_optional(walk.policy, settings.tls.params);
    }
  }
  walk.require_tls = RequireTls::kDisable;
  if (walk.job.requires_tls() && settings.tls.params.requiretls_enable) {
    if (!co_await require_tls(walk, *destination)) co_return;
  }
  const bool is_always_kept = co_await is_kept_always(settings, *destination);
  walk.is_always_kept = is_always_kept;
  const std::string key = to_lower(text);
  enter(key);
  walk.used.clear();
  co_await try_kept(walk, key);
  if (walk.job.unreported() > 0) {
    walk.job.mark_connecting();
    const Route route = co_await find_route(walk, *destination);
    walk.is_ours = route.is_ours;
    walk.is_loop = route.is_loop;
    walk.is_last_destination = walk.is_last_destination || walk.is_ours;
    if (route.targets.empty()) {
      walk.why = route.failure;
    } else {
      co_await try_targets(walk, *destination, key, route.targets);
    }
  }
  leave(key);
}

loop::Task<bool> Engine::require_tls(Walk& walk, const Destination& destination) {
  const config::TlsParams& params = walk.settings->tls.params;
  const auto level = co_await find_require_tls(tables_, params.smtp_requiretls_policy,
                                               destination.is_unix() ? "" : destination.host);
  if (!level) {
    log::warning("smtp_requiretls_policy: {}", level.error().text);
    walk.why = own_failure("4.3.0", "REQUIRETLS policy cannot be looked up");
    co_return false;
  }
  walk.require_tls = *level;
  if (*level < RequireTls::kOpportunisticTls || is_mandatory(walk.policy.level)) co_return true;
  // What MTA-STS or DANE adds to a weaker level counts still.
  if (walk.policy.level == TlsLevel::kNone || walk.policy.sts_mx.empty()) {
    walk.policy = tls_policy_at(TlsLevel::kEncrypt, params);
  }
  co_return true;
}

// Kept connections first: they spare the look-up, the hello and two round trips.
loop::Task<void> Engine::try_kept(Walk& walk, std::string key) {
  // Probes say the same over any connection; the kept ones are for mail. What a kept one was
  // verified by may be less than REQUIRETLS needs.
  if (walk.job.is_probe() || walk.require_tls != RequireTls::kDisable) co_return;
  for (;;) {
    ConnectionPtr connection = cache_.take_for_destination(key, [&walk](const Connection& kept) {
      return kept.asked_policy == walk.policy && kept.comes_from(*walk.settings);
    });
    if (connection == nullptr) co_return;
    connection->needs_reset = true;
    const bool is_final = walk.is_last_destination && !connection->has_alternatives;
    const auto end = co_await transact(walk, *connection, is_final);
    if (end == Transaction::End::kStale) continue;
    walk.used = connection->endpoint().relay();
    finish_with(key, walk, std::move(connection), end);
    co_return;
  }
}

loop::Task<Route> Engine::find_route(Walk& walk, Destination destination) {
  const Settings& settings = *walk.settings;
  Route route;
  if (destination.is_unix()) {
    route.targets.push_back({settings.myhostname, destination.path, 0});
    co_return route;
  }
  if (auto literal = route_literal(destination, settings)) co_return *std::move(literal);

  ipc::resolver::FindHosts request;
  request.domain = destination.host;
  request.use_mx = settings.use_mx && destination.use_mx;
  request.use_hosts_file = settings.use_hosts_file;
  request.use_ipv4 = settings.use_ipv4;
  request.use_ipv6 = settings.use_ipv6;
  const auto& by_srv = settings.params.use_srv_lookup;
  if (request.use_mx && std::ranges::find(by_srv, destination.service) != by_srv.end()) {
    request.service = destination.service;
  }
  auto hosts = co_await find_hosts_(request);
  if (hosts && !request.service.empty() && !hosts->has_srv) {
    const bool is_temporary = hosts->status == ipc::resolver::Status::kTemporary;
    if (settings.params.allow_srv_lookup_fallback ||
        (is_temporary && settings.params.ignore_srv_lookup_error)) {
      request.service.clear();
      hosts = co_await find_hosts_(request);
    }
  }
  const bool failed = hosts && hosts->status == ipc::resolver::Status::kTemporary && !hosts->has_mx;
  if (failed && request.service.empty() && request.use_mx &&
      settings.params.ignore_mx_lookup_error) {
    request.use_mx = false;
    hosts = co_await find_hosts_(request);
  }
  if (!hosts) {
    route.failure = own_failure("4.3.0", "name service: " + hosts.error().text);
    co_return route;
  }
  route = plan_route(destination, *hosts, settings, random_below);
  co_return route;
}

loop::Task<void> Engine::try_targets(Walk& walk, Destination destination, std::string key,
                                     std::vector<Endpoint> targets) {
  const std::size_t known = targets.size();
  const std::int64_t session_limit = walk.settings->params.smtp_mx_session_limit;
  // The server of a kept connection has had its say, unless there is no other.
  if (targets.size() > 1 && !walk.used.empty()) {
    std::erase_if(targets, [&](const Endpoint& target) { return target.relay() == walk.used; });
  }
  std::int64_t sessions = walk.used.empty() ? 0 : 1;
  for (std::size_t i = 0; i < targets.size() && walk.job.unreported() > 0; ++i) {
    TlsReporter report = is_reported(walk, destination) ? report_ : TlsReporter();
    auto planned =
        co_await tls_.plan(walk.settings, walk.policy, destination, targets[i], std::move(report));
    if (!planned) {
      walk.why = std::move(planned.error());
      walk.why.relay = targets[i].relay();
      log::info("{}: {}", walk.job.queue_id(), log::clean(walk.why.text));
      continue;
    }
    const TlsPlanPtr plan = *std::move(planned);
    if (walk.require_tls == RequireTls::kEnforce &&
        (plan == nullptr || !must_match(plan->policy.level))) {
      walk.why = unverifiable(targets[i]);
      log::info("{}: {}", walk.job.queue_id(), log::clean(walk.why.text));
      continue;
    }
    ConnectionPtr connection;
    // Passwords are of next hops: a connection that was made for another one is no use.
    if (!walk.job.is_probe() && !walk.settings->login.is_enabled &&
        walk.require_tls == RequireTls::kDisable) {
      connection = cache_.take_for_endpoint(targets[i], [&](const Connection& kept) {
        return serves(kept, plan) && kept.comes_from(*walk.settings);
      });
    }
    const bool is_kept = connection != nullptr;
    if (!is_kept) connection = co_await connect(walk, targets[i]);
    if (connection == nullptr) continue;
    bool is_last = i + 1 == targets.size();
    // smtp_mx_session_limit is for servers that have said hello.
    const auto count_session = [&] {
      ++sessions;
      is_last = is_last || (session_limit > 0 && sessions >= session_limit);
    };
    connection->has_alternatives = known > 1;
    auto end = Transaction::End::kSpent;
    if (is_kept) {
      connection->needs_reset = true;
      count_session();
      end = co_await transact(walk, *connection, is_last && walk.is_last_destination);
      if (end == Transaction::End::kStale) {
        // It had gone to sleep: this server has not been asked yet.
        --sessions;
        --i;
        continue;
      }
    } else {
      connection = co_await greeted(walk, std::move(connection), plan, destination,
                                    is_last && walk.is_last_destination);
      if (connection != nullptr) count_session();
      const bool is_final = is_last && walk.is_last_destination;
      if (connection != nullptr && !keeps_require_tls(walk, *connection)) {
        say_goodbye(std::move(connection), walk.settings);
        if (is_last) break;
        continue;
      }
      // TLS that breaks in the middle is no better than a handshake that fails.
      const bool has_fallback = connection != nullptr && connection->is_encrypted() &&
                                !walk.settings->login.is_enabled &&
                                may_go_plain(walk.job, *plan, *walk.settings);
      if (connection != nullptr) {
        end = co_await transact(walk, *connection, is_final, has_fallback);
      }
      if (has_fallback && end == Transaction::End::kBroken && walk.job.unreported() > 0) {
        log::info("{}: TLS with {} broke: sending in the clear", walk.job.queue_id(),
                  targets[i].relay());
        connection = co_await connect(walk, targets[i]);
        if (connection != nullptr) {
          connection->has_alternatives = known > 1;
          connection =
              co_await greeted(walk, std::move(connection), nullptr, destination, is_final);
        }
        if (connection != nullptr) end = co_await transact(walk, *connection, is_final);
      }
    }
    if (connection != nullptr) finish_with(key, walk, std::move(connection), end);
    if (is_last) break;
  }
}

loop::Task<ConnectionPtr> Engine::connect(Walk& walk, Endpoint endpoint) {
  auto opened = co_await Connection::open(endpoint, walk.settings);
  if (opened) {
    (*opened)->reply_filter = ReplyFilter(tables_, walk.settings);
    const bool is_known = co_await find_discarded(*walk.settings, **opened);
    if (is_known) co_return *std::move(opened);
    walk.why = own_failure("4.3.0", "Temporary lookup error");
    co_return nullptr;
  }
  walk.why = connect_failed(endpoint, opened.error().text);
  log::info("{}", walk.why.text);
  co_return nullptr;
}

loop::Task<ConnectionPtr> Engine::greeted(Walk& walk, ConnectionPtr connection, TlsPlanPtr plan,
                                          const Destination& destination, bool is_final) {
  const bool detect_loop =
      !walk.settings->is_lmtp() && destination.port == walk.settings->smtp_port;
  connection->asked_policy = walk.policy;
  connection->is_dialogue_logged = co_await is_watched(walk, destination, connection->endpoint());
  if (send_notice_ && walk.settings->notifies_protocol) {
    connection->transcript = std::make_unique<Transcript>();
  }
  connection->avoids_esmtp = [this, &walk, endpoint = connection->endpoint()] {
    return avoids_esmtp(walk, endpoint);
  };
  Verdict refusal = co_await connection->hello(walk.settings, plan, destination.text, detect_loop);
  report_try(walk, *connection, destination);
  if (connection->has_tls_failed() && may_go_plain(walk.job, *plan, *walk.settings)) {
    const Endpoint endpoint = connection->endpoint();
    log::info("{}: {}: sending in the clear to {}", walk.job.queue_id(), log::clean(refusal.text),
              endpoint.relay());
    const bool is_logged = connection->is_dialogue_logged;
    auto transcript = std::move(connection->transcript);
    connection = co_await connect(walk, endpoint);
    if (connection == nullptr) co_return nullptr;
    connection->is_dialogue_logged = is_logged;
    connection->transcript = std::move(transcript);
    refusal = co_await connection->hello(walk.settings, nullptr, destination.text, detect_loop);
  }
  if (refusal.status.empty()) {
    refusal =
        co_await login_.log_in(walk.settings, *connection, destination.text, walk.job.sender());
  }
  walk.job.mark_connected();
  connection->avoids_esmtp = {};
  if (refusal.status.empty()) co_return connection;
  tell_postmaster(*walk.settings, *connection);
  const bool is_there = !connection->has_tls_failed() && !connection->stream().has_hung_up();
  if (is_there) say_goodbye(std::move(connection), walk.settings);
  take_refusal(walk, refusal, is_final);
  co_return nullptr;
}

// What the server says of REQUIRETLS; false: the message may not go there, walk.why tells.
bool Engine::keeps_require_tls(Walk& walk, Connection& connection) {
  connection.sends_require_tls = false;
  if (walk.require_tls == RequireTls::kDisable) return true;
  connection.sends_require_tls = connection.is_encrypted() && connection.features().requiretls;
  if (connection.sends_require_tls || walk.require_tls != RequireTls::kEnforce) return true;
  walk.why =
      own_failure("5.7.30", fmt::format("REQUIRETLS was asked for, but was not offered by host {}",
                                        connection.endpoint().host()));
  walk.why.relay = connection.endpoint().relay();
  log::info("{}: {}", walk.job.queue_id(), log::clean(walk.why.text));
  return false;
}

// RFC 8460 is about the servers that a domain's MX records name.
bool Engine::is_reported(const Walk& walk, const Destination& destination) const {
  const Settings& settings = *walk.settings;
  if (!report_ || !settings.tls.params.smtp_tlsrpt_enable || settings.is_lmtp()) return false;
  if (destination.is_unix() || !destination.use_mx || walk.job.is_probe()) return false;
  return !walk.job.has_attribute(queuefile::kNoTlsReport);
}

void Engine::report_try(const Walk& walk, Connection& connection,
                        const Destination& destination) const {
  if (!connection.tls_try || connection.plan == nullptr) return;
  const ReportedPolicy& policy = connection.plan->reported;
  if (policy.type.empty() || !is_reported(walk, destination)) return;
  const TlsTry& tried = *connection.tls_try;
  if (tried.is_reused && walk.settings->tls.params.smtp_tlsrpt_skip_reused_handshakes) return;
  auto result = make_result(destination.host, policy, connection.endpoint(), tried);
  result.mx_helo = connection.features().greeting_name;
  if (const auto own = sys::local_address(connection.stream().fd())) {
    result.own_address = own->host();
  }
  report_(result);
}

loop::Task<bool> Engine::find_discarded(const Settings& settings, Connection& connection) {
  constexpr std::chrono::seconds kTablesTime{100};
  if (tables_ == nullptr || settings.params.smtp_discard_ehlo_keyword_address_maps.empty()) {
    co_return true;
  }
  ipc::tables::Lookup question;
  question.tables = settings.params.smtp_discard_ehlo_keyword_address_maps;
  question.keys.push_back({connection.endpoint().address, false});
  const auto found =
      co_await tables_->lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("{}_discard_ehlo_keyword_address_maps: {}", settings.is_lmtp() ? "lmtp" : "smtp",
                 found.error().text);
    co_return false;
  }
  if (!found->is_found) co_return true;
  auto& discarded = connection.discarded_keywords.emplace();
  for (const auto& word : config::split_list(found->value)) discarded.push_back(to_upper(word));
  co_return true;
}

loop::Task<bool> Engine::avoids_esmtp(const Walk& walk, const Endpoint& endpoint) {
  constexpr std::chrono::seconds kTablesTime{100};
  const auto& params = walk.settings->params;
  std::vector<std::string> workarounds = params.smtp_pix_workarounds;
  if (tables_ != nullptr && !params.smtp_pix_workaround_maps.empty()) {
    ipc::tables::Lookup question;
    question.tables = params.smtp_pix_workaround_maps;
    question.keys.push_back({endpoint.address, false});
    const auto found =
        co_await tables_->lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) log::warning("smtp_pix_workaround_maps: {}", found.error().text);
    if (found && found->is_found) {
      workarounds.clear();
      for (const auto word : split_words(found->value)) workarounds.emplace_back(word);
    }
  }
  const bool is_without = std::ranges::any_of(
      workarounds, [](const std::string& word) { return equal_nocase(word, "disable_esmtp"); });
  if (is_without) {
    log::info("{}: enabling PIX workarounds: disable_esmtp for {}", walk.job.queue_id(),
              endpoint.relay());
  }
  co_return is_without;
}

void Engine::tell_postmaster(const Settings& settings, Connection& connection) const {
  if (connection.transcript == nullptr) return;
  if (connection.transcript->has_protocol_error()) {
    send_notice_(fmt::format("{} {} client: errors from {}", settings.mail_name,
                             settings.is_lmtp() ? "LMTP" : "SMTP", connection.endpoint().relay()),
                 fmt::format("Unexpected response from {}.\n\nTranscript of session follows.\n\n"
                             "{} Out: QUIT\n\nFor other details, see the local mail logfile\n",
                             connection.endpoint().relay(), connection.transcript->text()));
  }
  connection.transcript->clear();
}

loop::Task<bool> Engine::is_watched(const Walk& walk, const Destination& destination,
                                    const Endpoint& endpoint) const {
  if (log::verbosity() > 0) co_return true;
  const policy::DebugPeers& peers = walk.settings->debug_peers;
  if (tables_ == nullptr || peers.is_empty()) co_return false;
  if (co_await peers.includes(*tables_, destination.host, endpoint.address)) co_return true;
  co_return co_await peers.includes(*tables_, endpoint.name, endpoint.address);
}

void Engine::take_refusal(Walk& walk, const Verdict& refusal, bool is_final) {
  walk.why = refusal;
  if (is_kept(refusal, is_final, walk.settings->soft_bounce)) {
    log::info("{}: {}", walk.job.queue_id(), log::clean(refusal.text));
    walk.job.mark_connecting();
    return;
  }
  if (refusal.is_temporary()) walk.job.mark_destination_failure();
  for (std::size_t i = 0; i < walk.job.recipients(); ++i) {
    if (!walk.job.is_reported(i)) walk.job.failed(i, refusal);
  }
}

loop::Task<Transaction::End> Engine::transact(Walk& walk, Connection& connection, bool is_final,
                                              bool is_kept_when_lost) {
  Transaction transaction(connection, walk.job, walk.settings, buffers_, is_final, tables_);
  if (is_kept_when_lost) transaction.keep_when_lost();
  const auto end = co_await transaction.run();
  if (walk.job.unreported() > 0 && end != Transaction::End::kStale) walk.job.mark_connecting();
  co_return end;
}

void Engine::finish_with(const std::string& key, const Walk& walk, ConnectionPtr connection,
                         Transaction::End end) {
  if (end == Transaction::End::kBroken || connection->stream().has_hung_up()) return;
  // One with an envelope that came to nothing is not kept: RSET would be one more answer to wait
  // for.
  tell_postmaster(*walk.settings, *connection);
  const bool may_keep = !connection->is_encrypted() || connection->asked_policy.connection_reuse;
  const bool is_clean = may_keep && end == Transaction::End::kUsable && !connection->needs_reset;
  if (is_clean && is_worth_keeping(key, walk)) {
    cache_.put(key, std::move(connection));
  } else {
    say_goodbye(std::move(connection), settings_);
  }
}

// smtp_connection_cache_destinations: names without brackets and port.
loop::Task<bool> Engine::is_kept_always(const Settings& settings, const Destination& destination) {
  using Kind = config::SiteList::Match::Kind;
  constexpr std::chrono::seconds kTablesTime{100};
  const config::SiteList& list = settings.kept_destinations;
  if (list.empty() || destination.is_unix()) co_return false;
  const std::string host = to_lower(destination.host);
  auto match = list.match(host);
  while (match.kind == Kind::kAskTable) {
    if (tables_ == nullptr) co_return false;
    ipc::tables::Lookup question;
    question.tables.emplace_back(match.table);
    question.keys.push_back({host, false});
    const auto found =
        co_await tables_->lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("{}_connection_cache_destinations: {}", settings.is_lmtp() ? "lmtp" : "smtp",
                   found.error().text);
      co_return false;
    }
    if (found->is_found) co_return match.if_found == Kind::kYes;
    match = list.match(host, match.next);
  }
  co_return match.kind == Kind::kYes;
}

bool Engine::is_worth_keeping(const std::string& key, const Walk& walk) const {
  const Settings& settings = *walk.settings;
  // Who was logged in for one sender is nobody to send for another.
  if (settings.login.is_sender_dependent) return false;
  if (walk.is_always_kept) return true;
  if (!settings.params.smtp_connection_cache_on_demand) return false;
  // What XFORWARD said of one message would stand for the next that says less.
  if (settings.params.smtp_send_xforward_command) return false;
  if (walk.job.is_busy_destination()) return true;
  const auto found = traffic_.find(key);
  if (found == traffic_.end() || found->second.burst <= kBurstSize) return false;
  return found->second.under_way > 1 || loop::Clock::now() - found->second.last < kBurst;
}

void Engine::enter(const std::string& key) {
  if (traffic_.size() >= kMaxTraffic) {
    const auto old = loop::Clock::now() - kBurst;
    std::erase_if(traffic_, [&](const auto& entry) {
      return entry.second.under_way == 0 && entry.second.last < old;
    });
  }
  auto& traffic = traffic_[key];
  if (traffic.under_way == 0 && loop::Clock::now() - traffic.last >= kBurst) traffic.burst = 0;
  ++traffic.burst;
  ++traffic.under_way;
}

void Engine::leave(const std::string& key) {
  auto& traffic = traffic_[key];
  --traffic.under_way;
  traffic.last = loop::Clock::now();
}

}  // namespace postern::smtpclient
