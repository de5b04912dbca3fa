#include "common/smtpclient/tls_client.h"

#include <fmt/format.h>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/tls/sts.h"

namespace postern::smtpclient {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

std::unexpected<Verdict> misconfigured() {
  return std::unexpected(own_failure("4.7.5", "client TLS configuration problem"));
}

// Why DANE cannot be had here; nothing where it can.
std::string dane_obstacle(const Settings& settings) {
  if (!settings.has_dnssec) return "dane configured with dnssec lookups disabled";
  if (settings.params.ignore_mx_lookup_error) return "dane configured with ignored MX errors";
  return {};
}

// Everything in which two handshakes may differ.
std::string key_of(const TlsPlan& plan, const Endpoint& endpoint) {
  const tls::ConnectOptions& options = plan.options;
  std::string key = fmt::format("{} {} {} {} {} {}", endpoint.relay(), name_of(plan.policy.level),
                                plan.policy.protocols, options.ciphers, options.server_name,
                                plan.policy.trust_anchor_file);
  for (const auto& name : options.names) key += " n=" + name;
  for (const auto& print : options.fingerprints) key += " f=" + print;
  for (const auto& tlsa : options.tlsa) {
    key += fmt::format(" t={},{},{},", tlsa.usage, tlsa.selector, tlsa.matching_type);
    key += tlsa.data;
  }
  return key;
}

// RFC 8461 4.2: a certificate for the server's name, from an authority, and TLS 1.2 at least.
void demand_sts(TlsPolicy& policy, const config::TlsParams& params) {
  policy.level = TlsLevel::kVerify;
  policy.protocols = ">=TLSv1.2";
  policy.ciphers = params.smtp_tls_mandatory_ciphers;
  policy.exclude = params.smtp_tls_exclude_ciphers;
  policy.match = {"hostname"};
  policy.servername = "hostname";
}

ReportedPolicy reported_of(const Tlsa& tlsa, const std::string& domain) {
  ReportedPolicy reported{"tlsa", domain};
  for (const auto& record : tlsa.records) {
    reported.strings.push_back(fmt::format("{} {} {} {}", record.usage, record.selector,
                                           record.matching_type, hex_encode(record.data)));
  }
  return reported;
}

// RFC 8460 4.3.2.1
TlsTry dane_failure(const Verdict& why) {
  const bool is_lookup = why.text.find("lookup error") != std::string::npos;
  return {.failure = is_lookup ? "dnssec-invalid" : "dane-required", .detail = why.text};
}

tls::Verify verify_at(TlsLevel level) {
  if (level == TlsLevel::kFingerprint) return tls::Verify::kFingerprint;
  if (is_dane(level)) return tls::Verify::kDane;
  return level >= TlsLevel::kVerify ? tls::Verify::kName : tls::Verify::kNothing;
}

}  // namespace

std::string TlsSessionCache::find(const std::string& key, std::chrono::seconds lifetime) {
  const auto found = sessions_.find(key);
  if (found == sessions_.end()) return {};
  if (loop::Clock::now() - found->second.since < lifetime) return found->second.session;
  by_age_.erase(found->second.place);
  sessions_.erase(found);
  return {};
}

void TlsSessionCache::put(const std::string& key, std::string session) {
  if (const auto old = sessions_.find(key); old != sessions_.end()) {
    by_age_.erase(old->second.place);
    sessions_.erase(old);
  }
  if (sessions_.size() >= kMaxSessions) {
    sessions_.erase(by_age_.front());
    by_age_.pop_front();
  }
  const auto place = by_age_.insert(by_age_.end(), key);
  sessions_.emplace(key, Entry{std::move(session), loop::Clock::now(), place});
}

loop::Task<TlsClient::Answer<TlsPolicy>> TlsClient::find_policy(SettingsPtr settings,
                                                                std::string nexthop) {
  const TlsSettings& ours = settings->tls;
  if (tables_ != nullptr && !ours.params.smtp_tls_policy_maps.empty()) {
    ipc::tables::Lookup question;
    question.tables = ours.params.smtp_tls_policy_maps;
    question.keys = tls_policy_keys(nexthop);
    const auto found =
        co_await tables_->lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("TLS policy of {}: {}", nexthop, found.error().text);
      co_return std::unexpected(own_failure("4.3.0", "Temporary lookup error"));
    }
    if (found->is_found) {
      auto policy = parse_tls_policy(found->value, ours.params);
      if (policy && ours.params.smtp_tls_wrappermode && !is_mandatory(policy->level)) {
        policy = fail(Error::Kind::kConfig, "smtp_tls_wrappermode requires level encrypt or more");
      }
      if (policy) co_return *std::move(policy);
      log::warning("{}_tls_policy_maps, next-hop destination \"{}\": {}",
                   settings->is_lmtp() ? "lmtp" : "smtp", nexthop, policy.error().text);
      co_return misconfigured();
    }
  }
  if (!ours.policy) {
    log::warning("{}", ours.policy.error().text);
    co_return misconfigured();
  }
  auto policy = co_await apply_sts(settings, *ours.policy, std::move(nexthop));
  if (policy) {
    policy->is_by_site = tables_ != nullptr && ours.params.smtp_tls_policy_maps.empty() &&
                         !ours.params.smtp_tls_per_site.empty();
  }
  co_return policy;
}

loop::Task<TlsClient::Answer<TlsPolicy>> TlsClient::apply_sites(SettingsPtr settings,
                                                                TlsPolicy policy,
                                                                std::string domain,
                                                                std::string host) {
  const config::TlsParams& params = settings->tls.params;
  std::vector<std::string> names{to_lower(domain)};
  if (!equal_nocase(domain, host)) names.push_back(to_lower(host));
  std::vector<std::string> results;
  for (const auto& name : names) {
    ipc::tables::Lookup question;
    question.tables = params.smtp_tls_per_site;
    question.keys.push_back({name, false});
    auto found = co_await tables_->lookup(std::move(question), loop::Clock::now() + kTablesTime);
    if (!found) {
      log::warning("smtp_tls_per_site: {}: {}", name, found.error().text);
      co_return std::unexpected(own_failure("4.3.0", "Temporary lookup error"));
    }
    if (found->is_found) results.push_back(std::move(found->value));
  }
  auto changed = policy_of_sites(std::move(policy), results, params);
  if (changed) co_return *std::move(changed);
  log::warning("smtp_tls_per_site: {}: {}", domain, changed.error().text);
  co_return misconfigured();
}

loop::Task<TlsClient::Answer<TlsPolicy>> TlsClient::apply_sts(SettingsPtr settings,
                                                              TlsPolicy policy,
                                                              std::string nexthop) {
  const bool is_weaker = policy.level == TlsLevel::kMay || policy.level == TlsLevel::kEncrypt ||
                         policy.level == TlsLevel::kDane;
  if (!settings->tls.params.smtp_mta_sts_enable || settings->is_lmtp() || !is_weaker ||
      !find_sts_) {
    co_return policy;
  }
  const auto destination =
      parse_destination(nexthop, settings->protocol, settings->params.smtp_tcp_port);
  // A policy is about a domain's MX records: it says nothing of a host that we were sent to.
  if (!destination || destination->is_unix() || !destination->use_mx) co_return policy;
  ipc::sts::FindPolicy question;
  question.domain = destination->host;
  auto found = co_await find_sts_(std::move(question));
  if (!found) {
    log::warning("MTA-STS policy of {}: {}", destination->host, found.error().text);
    co_return std::unexpected(own_failure("4.3.0", "MTA-STS policy cannot be looked up"));
  }
  if (!found->failure.empty()) policy.reported = {"sts", destination->host, {}, {}, found->failure};
  if (found->mode == ipc::sts::Mode::kNone) co_return policy;
  policy.reported = {"sts", destination->host, std::move(found->lines), found->mx};
  const bool is_enforced = found->mode == ipc::sts::Mode::kEnforce;
  (is_enforced ? policy.sts_mx : policy.tested_mx) = std::move(found->mx);
  co_return policy;
}

loop::Task<TlsClient::Answer<TlsPlanPtr>> TlsClient::plan(SettingsPtr settings, TlsPolicy policy,
                                                          Destination destination,
                                                          Endpoint endpoint, TlsReporter report) {
  if (policy.is_by_site && endpoint.port != 0) {
    auto changed =
        co_await apply_sites(settings, std::move(policy), destination.host, endpoint.name);
    if (!changed) co_return std::unexpected(std::move(changed.error()));
    policy = *std::move(changed);
  }
  if (policy.level == TlsLevel::kNone || endpoint.port == 0) co_return nullptr;
  // A level that only we demand is no policy of the domain's.
  if (policy.reported.type.empty() &&
      (policy.level <= TlsLevel::kEncrypt || is_dane(policy.level))) {
    policy.reported = {"no-policy-found", destination.host};
  }
  Tlsa tlsa;
  if (is_dane(policy.level)) {
    auto found = co_await apply_dane(settings, policy, endpoint);
    if (!found) {
      if (report)
        report(make_result(destination.host, {"tlsa", destination.host}, endpoint,
                           dane_failure(found.error())));
      co_return std::unexpected(std::move(found.error()));
    }
    tlsa = *std::move(found);
    if (tlsa.status != TlsaStatus::kNone) policy.reported = reported_of(tlsa, destination.host);
  }
  // RFC 8461 2: DANE, where there is some, is not overruled.
  bool is_sts_tested = false;
  if (tlsa.status == TlsaStatus::kNone) {
    is_sts_tested = !policy.tested_mx.empty();
    if (!apply_sts_servers(*settings, policy, endpoint, destination.host, report)) {
      co_return std::unexpected(own_failure(
          "4.7.5", fmt::format("host {} is none of the servers that the MTA-STS policy of {} names",
                               endpoint.host(), destination.host)));
    }
    is_sts_tested = is_sts_tested && !policy.tested_mx.empty();
  }
  const TlsSettings& ours = settings->tls;
  auto terms = ours.terms_of(policy);
  const auto& context = ours.context();
  if (!context || !terms) {
    const std::string why = terms ? context.error().text : terms.error().text;
    if (!is_mandatory(policy.level)) {
      log::warning("no TLS with {}: {}", endpoint.relay(), why);
      co_return nullptr;
    }
    log::warning("TLS with {} is required, but cannot be had: {}", endpoint.relay(), why);
    co_return misconfigured();
  }

  TlsPlan made;
  made.context = *context;
  tls::ConnectOptions& options = made.options;
  options.protocols = terms->protocols;
  options.ciphers = std::move(terms->ciphers);
  options.verify = verify_at(policy.level);
  options.fingerprint_digest = ours.params.smtp_tls_fingerprint_digest;
  options.wildcard_spans_labels = ours.params.tls_wildcard_matches_multiple_labels;
  options.server_name = server_name_of(policy, destination.host, endpoint.name);
  if (policy.level == TlsLevel::kFingerprint) options.fingerprints = policy.match;
  if (policy.level >= TlsLevel::kVerify) {
    options.names = names_to_match(policy, destination.host, endpoint.name);
    if (!policy.trust_anchor_file.empty()) {
      auto anchors = co_await find_anchors(settings, policy.trust_anchor_file, destination.text);
      if (!anchors) {
        log::warning("trust anchors for {}: {}", endpoint.relay(), anchors.error().text);
        co_return misconfigured();
      }
      options.tlsa = *std::move(anchors);
    }
  }
  if (is_sts_tested) {
    options.verify = tls::Verify::kName;
    options.names = {endpoint.name};
    options.server_name = endpoint.name;
  }
  if (tlsa.status == TlsaStatus::kUsable) {
    options.tlsa = std::move(tlsa.records);
    options.server_name = tlsa.base;
    options.names = {tlsa.base, endpoint.name};
    // RFC 7672 3.2.2: what the validated MX records say, the domain may also be called.
    if (endpoint.trust.is_domain_secure) options.names.push_back(destination.host);
  }
  made.reported = policy.reported;
  made.policy = std::move(policy);
  made.key = key_of(made, endpoint);
  options.session = sessions_->find(made.key, ours.params.smtp_tls_session_cache_timeout);
  options.on_session = [cache = sessions_, key = made.key](std::string session) {
    cache->put(key, std::move(session));
  };
  co_return std::make_shared<const TlsPlan>(std::move(made));
}

// What main.cf names is here; of a file that the policy table names (tafile=) `tables` knows.
loop::Task<Result<std::vector<dns::Tlsa>>> TlsClient::find_anchors(SettingsPtr settings,
                                                                   std::string path,
                                                                   std::string nexthop) {
  const TlsSettings& ours = settings->tls;
  const auto known = ours.anchor_files.find(path);
  if (known != ours.anchor_files.end()) co_return tls::anchors_of(known->second);
  if (tables_ == nullptr) co_return fail(Error::Kind::kConfig, path + ": cannot be read");
  ipc::tables::FindAnchors question;
  question.tables = ours.params.smtp_tls_policy_maps;
  question.keys = tls_policy_keys(nexthop);
  CO_TRY(const auto found,
         co_await tables_->client().call(question, loop::Clock::now() + kTablesTime));
  co_return tls::anchors_of(found.pem);
}

bool TlsClient::apply_sts_servers(const Settings& settings, TlsPolicy& policy,
                                  const Endpoint& endpoint, const std::string& domain,
                                  const TlsReporter& report) {
  const bool is_enforced = !policy.sts_mx.empty();
  const auto& servers = is_enforced ? policy.sts_mx : policy.tested_mx;
  if (servers.empty()) return true;
  if (tls::matches_sts_mx(servers, endpoint.name)) {
    if (is_enforced) demand_sts(policy, settings.tls.params);
    return true;
  }
  if (report) {
    report(make_result(
        domain, policy.reported, endpoint,
        {.failure = "validation-failure", .detail = "the policy does not name this server"}));
  }
  // One result for one try.
  policy.reported.type.clear();
  policy.tested_mx.clear();
  return !is_enforced;
}

// Postfix's words for each way in which DANE comes to nothing (postconf(5) smtp_tls_security_level,
// smtp_tls_dane_insecure_mx_policy).
loop::Task<TlsClient::Answer<Tlsa>> TlsClient::apply_dane(SettingsPtr settings, TlsPolicy& policy,
                                                          Endpoint endpoint) {
  const config::TlsParams& params = settings->tls.params;
  const bool is_only = policy.level == TlsLevel::kDaneOnly;
  const auto without = [&](std::string why) -> Answer<Tlsa> {
    if (is_only) return std::unexpected(own_failure("4.7.5", std::move(why)));
    policy.level = TlsLevel::kMay;
    policy.protocols = params.smtp_tls_protocols;
    policy.ciphers = params.smtp_tls_ciphers;
    policy.exclude = params.smtp_tls_exclude_ciphers;
    return Tlsa{};
  };
  if (std::string obstacle = dane_obstacle(*settings); !obstacle.empty() || !ask_) {
    log::warning("{}: {}", endpoint.relay(), obstacle);
    co_return without(std::move(obstacle));
  }
  if (!endpoint.trust.is_domain_secure) {
    co_await probe_dnssec(settings->dnssec_probe);
    if (is_only || params.smtp_tls_dane_insecure_mx_policy == "may") {
      co_return without("non DNSSEC destination");
    }
  }
  Tlsa found = co_await find_tlsa(ask_, endpoint, params.smtp_tls_force_insecure_host_tlsa_lookup);
  switch (found.status) {
    case TlsaStatus::kFailed:
      co_return std::unexpected(own_failure(
          "4.7.5", fmt::format("TLSA lookup error for {}:{}", endpoint.name, endpoint.port)));
    case TlsaStatus::kNone:
      co_return without("no TLSA records found");
    case TlsaStatus::kUnusable:
      if (is_only) co_return without("all TLSA records unusable");
      policy.level = TlsLevel::kEncrypt;
      break;
    case TlsaStatus::kUsable:
      if (!endpoint.trust.is_domain_secure && params.smtp_tls_dane_insecure_mx_policy != "dane") {
        policy.level = TlsLevel::kEncrypt;
        found.status = TlsaStatus::kUnusable;
      }
      break;
  }
  co_return found;
}

// Once: is it the destination that signs nothing, or our resolver that validates nothing?
loop::Task<void> TlsClient::probe_dnssec(std::string question) {
  if (std::exchange(has_probed_, true) || question.empty()) co_return;
  ipc::resolver::Query query;
  const auto [type, name] = split_at_first(question, ':');
  query.type = to_upper(type);
  query.name = name;
  const auto answer = co_await ask_(std::move(query));
  if (answer && answer->is_authenticated) co_return;
  log::warning("DNSSEC validation may be unavailable");
  if (!answer || answer->status != ipc::resolver::Status::kFound) {
    log::warning("reason: dnssec_probe '{}' received no response: {}", question,
                 answer ? answer->error : answer.error().text);
  } else {
    log::warning("reason: dnssec_probe '{}' received a response that is not DNSSEC validated",
                 question);
  }
}

}  // namespace postern::smtpclient
