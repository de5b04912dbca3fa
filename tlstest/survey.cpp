#include "tlstest/survey.h"

#include <curl/curl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/log/clean.h"
#include "common/smtpclient/connection.h"
#include "common/smtpclient/dane.h"
#include "common/smtpclient/route.h"
#include "common/tls/key_files.h"
#include "common/tls/session.h"
#include "common/tls/sts.h"
#include "resolver/service.h"
#include "sts/fetch.h"

namespace postern::tlstest {

namespace {

using smtpclient::Connection;
using smtpclient::Endpoint;
using smtpclient::TlsaStatus;

constexpr std::size_t kMaxServers = 10;
constexpr std::size_t kMaxAuthorities = std::size_t{8} << 20;
constexpr long kFetchTime = 30;

std::string system_authorities(const std::string& configured) {
  for (const auto& path : {configured, tls::system_authorities_path()}) {
    if (path.empty()) continue;
    if (auto text = config::read_file(path, kMaxAuthorities)) return *std::move(text);
  }
  return {};
}

class Survey {
 public:
  Survey(const config::Values& values, std::string nexthop)
      : values_(values), nexthop_(std::move(nexthop)) {}

  loop::Task<void> run(loop::Loop& turns) {
    co_await look();
    turns.stop();
  }
  [[nodiscard]] bool is_good() const { return servers_ > 0 && proven_ == servers_; }

 private:
  loop::Task<void> look() {
    config::Problems problems;
    smtpclient::TlsMaterials materials;
    authorities_ = system_authorities(values_.text("smtp_tls_CAfile"));
    materials.authorities = authorities_;
    // Whatever main.cf says: TLS is what is looked at.
    const config::Values with_tls = values_.with("smtp_tls_security_level", "encrypt");
    settings_ = smtpclient::Settings::load(with_tls, smtpclient::Protocol::kSmtp, problems,
                                           std::move(materials));
    const auto destination = smtpclient::parse_destination(nexthop_, smtpclient::Protocol::kSmtp,
                                                           settings_->params.smtp_tcp_port);
    if (!destination || destination->is_unix()) {
      fmt::print("{}: no destination of mail\n", log::clean(nexthop_));
      co_return;
    }
    smtpclient::Route route;
    if (auto literal = smtpclient::route_literal(*destination, *settings_)) {
      route = *std::move(literal);
    } else {
      ipc::resolver::FindHosts request;
      request.domain = destination->host;
      request.use_mx = destination->use_mx;
      const auto hosts = co_await finder_.find_hosts(request);
      if (!hosts) co_return;
      for (const auto& host : hosts->hosts) {
        const smtpclient::DnsTrust trust{hosts->is_authenticated, host.is_authenticated,
                                         host.canonical_name};
        for (const auto& address : host.addresses) {
          route.targets.push_back({host.name, address, destination->port, trust});
        }
      }
      route.failure.text = hosts->error;
      if (hosts->has_mx) {
        fmt::print("MX records of {}: {}\n", destination->host,
                   hosts->is_authenticated ? "signed, and validated by the resolver"
                                           : "not signed, or the resolver does not validate");
      }
      if (destination->use_mx) co_await look_for_sts(destination->host);
    }
    if (route.targets.empty()) fmt::print("no server: {}\n", log::clean(route.failure.text));
    if (route.targets.size() > kMaxServers) route.targets.resize(kMaxServers);
    for (const auto& target : route.targets) co_await look_at(target);
  }

  loop::Task<void> look_for_sts(std::string domain) {
    ipc::resolver::Query question;
    question.name = "_mta-sts." + domain;
    question.type = "TXT";
    const auto answer = co_await finder_.query(question);
    std::vector<std::string> texts;
    if (answer) {
      for (const auto& record : answer->records) texts.push_back(record.data);
    }
    if (!tls::find_sts_id(texts)) {
      fmt::print("MTA-STS: {} has no policy\n", domain);
      co_return;
    }
    ipc::resolver::FindHosts request;
    request.domain = "mta-sts." + domain;
    request.use_mx = false;
    const auto hosts = co_await finder_.find_hosts(request);
    sts::HttpsPeer fetch;
    fetch.host = "mta-sts." + domain;
    const auto web = values_.text("mta_sts_CAfile");
    fetch.authorities = web.empty() ? authorities_ : system_authorities(web);
    fetch.timeout = kFetchTime;
    for (const auto& host : hosts->hosts) {
      fetch.addresses.insert(fetch.addresses.end(), host.addresses.begin(), host.addresses.end());
    }
    auto text = sts::fetch_policy(fetch);
    auto policy =
        text ? tls::parse_sts_policy(*text) : Result<tls::StsPolicy>(std::unexpected(text.error()));
    if (!policy) {
      fmt::print("MTA-STS: {} announces a policy, but it cannot be had: {}\n", domain,
                 log::clean(policy.error().text));
      co_return;
    }
    fmt::print("MTA-STS: mode {}, servers {}, for {} days\n", tls::name_of(policy->mode),
               join(policy->mx, ", "), policy->max_age / std::chrono::days(1));
    if (policy->mode != tls::StsMode::kNone) sts_ = *std::move(policy);
  }

  loop::Task<void> look_at(Endpoint endpoint) {
    fmt::print("\n{}\n", endpoint.relay());
    ++servers_;
    auto tlsa = co_await smtpclient::find_tlsa(
        [this](ipc::resolver::Query question) { return finder_.query(std::move(question)); },
        endpoint, false);
    auto opened = co_await Connection::open(endpoint, settings_);
    if (!opened) {
      fmt::print("  connect: {}\n", opened.error().text);
      co_return;
    }
    smtpclient::ConnectionPtr connection = *std::move(opened);
    auto plan = std::make_shared<smtpclient::TlsPlan>();
    plan->policy = *settings_->tls.policy;
    const auto& context = settings_->tls.context();
    const auto terms = settings_->tls.terms_of(plan->policy);
    if (!context || !terms) {
      fmt::print("  TLS cannot be set up here: {}\n",
                 context ? terms.error().text : context.error().text);
      co_return;
    }
    plan->context = *context;
    tls::ConnectOptions& options = plan->options;
    options.protocols = terms->protocols;
    options.ciphers = terms->ciphers;
    options.server_name = endpoint.name.find(':') == std::string::npos ? endpoint.name : "";
    options.names = {endpoint.name};
    options.verify = tls::Verify::kName;
    if (tlsa.status == TlsaStatus::kUsable) {
      options.verify = tls::Verify::kDane;
      options.tlsa = tlsa.records;
      options.server_name = tlsa.base;
      options.names.push_back(tlsa.base);
    }
    connection->wants_session = true;
    const smtpclient::Verdict refusal =
        co_await connection->hello(settings_, plan, endpoint.name, false);
    if (!refusal.status.empty()) fmt::print("  {}\n", log::clean(refusal.text));
    const tls::Session* const session = connection->session.get();
    if (session == nullptr) co_return;
    fmt::print("  {}\n", session->describe());
    fmt::print("  certificate of {}, issued by {}\n", session->peer_subject, session->peer_issuer);
    fmt::print("  its fingerprint (SHA-256) is {}, that of its key {}\n", session->peer_fingerprint,
               session->peer_key_fingerprint);
    judge(endpoint, tlsa, *session);
    smtpclient::say_goodbye(std::move(connection), settings_);
  }

  void judge(const Endpoint& endpoint, const smtpclient::Tlsa& tlsa, const tls::Session& session) {
    const bool is_verified = session.worth == tls::Worth::kVerified;
    const std::string why = session.distrust.empty() ? "not checked" : session.distrust;
    switch (tlsa.status) {
      case TlsaStatus::kUsable:
        fmt::print("  DANE: {}\n",
                   is_verified
                       ? "the certificate is the one that is published (" + session.matched + ")"
                       : "the certificate is NOT the one that is published: mail waits "
                         "where DANE is heeded (" +
                             why + ")");
        if (!endpoint.trust.is_domain_secure) {
          fmt::print(
              "  DANE: but the MX records are not signed: anybody may name another server\n");
        }
        proven_ += is_verified ? 1 : 0;
        return;
      case TlsaStatus::kUnusable:
        fmt::print("  DANE: records are published, but none that SMTP uses (3 1 1 is)\n");
        break;
      case TlsaStatus::kFailed:
        fmt::print("  DANE: the look-up fails: mail waits where DANE is heeded\n");
        break;
      case TlsaStatus::kNone:
        fmt::print("  DANE: {}\n", endpoint.trust.is_host_secure
                                       ? "nothing is published"
                                       : "off, since the name is not signed or not validated");
        break;
    }
    fmt::print("  certificate: {}\n",
               is_verified ? "for this name, from an authority that this system trusts" : why);
    if (sts_) {
      const bool is_named = tls::matches_sts_mx(sts_->mx, endpoint.name);
      fmt::print("  MTA-STS: {}\n", !is_named     ? "the policy does not name this server"
                                    : is_verified ? "as the policy demands"
                                                  : "the policy demands a certificate that holds");
      proven_ += is_named && is_verified ? 1 : 0;
      return;
    }
    proven_ += is_verified ? 1 : 0;
  }

  const config::Values& values_;
  std::string nexthop_;
  std::string authorities_;
  smtpclient::SettingsPtr settings_;
  resolver::Finder finder_;
  std::optional<tls::StsPolicy> sts_;
  unsigned servers_ = 0;
  unsigned proven_ = 0;
};

}  // namespace

int survey(const config::Values& values, const std::string& nexthop) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  loop::Loop turns;
  Survey survey(values, nexthop);
  loop::spawn(survey.run(turns));
  turns.run();
  return survey.is_good() ? 0 : 1;
}

}  // namespace postern::tlstest
