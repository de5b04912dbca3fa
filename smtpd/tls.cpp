#include "smtpd/tls.h"

#include "common/config/params/tls.h"
#include "common/log/log.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kKeyringTime{10};
// Keys may come a moment after the certificates; keyring may be starting.
constexpr std::chrono::milliseconds kAskAgain{300};
constexpr unsigned kTries = 2;
constexpr std::chrono::seconds kTicketsAgain{10};
// Clients wait no longer for keyring's word, and take what the certificates promise.
constexpr std::chrono::seconds kSettleTime{3};
constexpr std::size_t kMaxDescriptions = 64;

}  // namespace

TlsSettings read_tls_settings(const config::Values& values, config::Problems& problems) {
  const auto params = config::load<config::TlsParams>(values, problems);
  TlsSettings settings;
  settings.is_wrapped = params.smtpd_tls_wrappermode;
  std::string level = params.smtpd_tls_security_level;
  if (level.empty()) {
    level = params.smtpd_enforce_tls ? "encrypt" : params.smtpd_use_tls ? "may" : "none";
  }
  settings.is_demanded = level == "encrypt" || settings.is_wrapped;
  settings.is_offered = level != "none" && !settings.is_wrapped;
  settings.demands_certificate = params.smtpd_tls_req_ccert && settings.is_demanded;
  settings.asks_certificate = params.smtpd_tls_ask_ccert || params.smtpd_tls_req_ccert;
  settings.has_trace = params.smtpd_tls_received_header;
  settings.has_require_tls = params.requiretls_enable;
  settings.redacts_notices = params.requiretls_redact_dsn;
  settings.loglevel = params.smtpd_tls_loglevel;
  settings.timeout = params.smtpd_starttls_timeout;
  settings.fingerprint_digest = params.smtpd_tls_fingerprint_digest;
  settings.legacy_key_fingerprint = params.tls_legacy_public_key_fingerprints;
  settings.names = params.tls_server_sni_maps;
  settings.relay_clientcerts = params.relay_clientcerts;
  if (params.smtpd_tls_req_ccert && !settings.is_demanded &&
      (settings.is_offered || settings.is_wrapped)) {
    problems.push_back(values.problem(
        "smtpd_tls_req_ccert",
        "without effect: a certificate can only be demanded where TLS is (security level encrypt)",
        config::Severity::kWarning));
  }
  if (!tls::is_known_digest(settings.fingerprint_digest)) {
    problems.push_back(values.problem("smtpd_tls_fingerprint_digest",
                                      "unknown digest: " + settings.fingerprint_digest));
    settings.fingerprint_digest = "sha256";
  }
  return settings;
}

struct TlsService::State {
  tls::ContextPtr context;
  std::shared_ptr<tls::Keyring> keyring = std::make_shared<tls::Keyring>();
  std::shared_ptr<tls::TicketKeys> tickets;
  std::chrono::seconds ticket_lifetime{0};
  std::uint64_t generation = 0;  // of the configuration
  // What is to be confirmed.
  tls::ServerConfig next;
  bool is_anonymous = false;  // no certificate on purpose
  bool is_confirmed = false;  // keyring had keys for `context`
  bool is_open = false;       // keyring's first word is awaited
  // What nobody has asked for yet: neither OpenSSL nor keyring has been troubled with it.
  std::optional<config::Values> due;
  TlsSettings settings;
  loop::Condition settled;

  void settle() {
    is_open = false;
    settled.notify_all();
  }

  // Makes the context of those of next's identities that `usable` has.
  void adopt(std::vector<tls::IdentityPtr> usable) {
    tls::ServerConfig config = next;
    config.identities = std::move(usable);
    auto made = tls::Context::server(std::move(config));
    if (made) {
      context = *std::move(made);
    } else {
      log::warning("TLS: {}; {}", made.error().text,
                   context ? "the former settings stay" : "TLS is not available");
    }
  }
};

TlsService::TlsService() : state_(std::make_shared<State>()) {}
TlsService::~TlsService() { ++state_->generation; }

loop::Task<void> TlsService::settle() {
  const auto state = state_;
  if (state->due) prepare(state);
  if (!state->is_open) co_return;
  const auto deadline = loop::Clock::now() + kSettleTime;
  while (state->is_open) {
    const auto outcome = co_await state->settled.wait(deadline);
    if (outcome == loop::Wait::kTimeout) co_return;
  }
}

const tls::ContextPtr& TlsService::context() const { return state_->context; }
tls::Keyring& TlsService::keyring() { return *state_->keyring; }

std::shared_ptr<const tls::Session> TlsService::describe(tls::Session session) {
  const bool is_common = !session.has_peer_certificate && session.server_name.empty();
  if (!is_common) return std::make_shared<const tls::Session>(std::move(session));
  const std::string key =
      fmt::format("{} {} {}", session.describe(), session.is_reused, session.application_protocol);
  if (descriptions_.size() >= kMaxDescriptions && !descriptions_.contains(key)) {
    descriptions_.clear();
  }
  auto& kept = descriptions_[key];
  if (!kept) kept = std::make_shared<const tls::Session>(std::move(session));
  return kept;
}

void TlsService::configure(const config::Values& values, const TlsSettings& settings) {
  State& state = *state_;
  ++state.generation;
  state.due.reset();
  if (!settings.is_offered && !settings.is_wrapped) {
    state.context.reset();
    state.is_confirmed = false;
    state.settle();
    return;
  }
  state.due = values;
  state.settings = settings;
  if (state.context || state.is_open) prepare(state_);
}

void TlsService::prepare(const std::shared_ptr<State>& shared) {
  State& state = *shared;
  const config::Values values = *std::move(state.due);
  state.due.reset();
  const TlsSettings& settings = state.settings;
  config::Problems problems;
  const auto params = config::load<config::TlsParams>(values, problems);
  tls::ServerConfig config;
  config.algorithms = tls::read_algorithms(
      values, tls::Role::kServer,
      settings.is_demanded ? tls::Demand::kMandatory : tls::Demand::kOptional, problems);
  config.prefer_own_ciphers = params.tls_preempt_cipherlist;
  config.identities = tls::read_identities(values, tls::Role::kServer, problems);
  config.ask_certificate = settings.asks_certificate;
  // Who names himself does so with a certificate.
  if (settings.asks_certificate) config.algorithms.ciphers += ":!aNULL";
  config.trust = tls::read_trust(values, tls::Role::kServer);
  config.signer = state.keyring;
  config.dh_parameters = tls::read_dh_parameters(values);
  config.session_lifetime = params.smtpd_tls_session_cache_timeout;
  config.issue_session_ids = params.smtpd_tls_always_issue_session_ids;
  if (params.smtpd_tls_session_cache_timeout.count() > 0) {
    auto tickets = tls::TicketKeys::make(params.tls_session_ticket_cipher);
    if (tickets) {
      config.ticket_keys = *std::move(tickets);
    } else if (!params.tls_session_ticket_cipher.empty()) {
      problems.push_back(values.problem("tls_session_ticket_cipher", tickets.error().text));
    }
  }
  state.is_anonymous = params.smtpd_tls_cert_file == "none" && config.identities.empty();
  state.tickets = config.ticket_keys;
  state.ticket_lifetime = params.smtpd_tls_session_cache_timeout;
  state.next = std::move(config);
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
  if (state.next.identities.empty() && !state.is_anonymous) {
    log::warning("no server certificate can be used; {}",
                 state.context ? "the former one stays" : "TLS is not available");
    state.settle();
    return;
  }
  if (!state.context) {
    // Should keyring not answer in time, each handshake asks it again.
    state.adopt(state.next.identities);
    state.is_open = true;
  }
  if (state.tickets) loop::spawn(keep_tickets(shared, state.generation));
  loop::spawn(confirm(shared, state.generation));
}

loop::Task<void> TlsService::confirm(std::shared_ptr<State> state, std::uint64_t generation) {
  if (state->is_anonymous) {
    state->adopt({});
    state->settle();
    co_return;
  }
  std::vector<tls::IdentityPtr> usable;
  std::string trouble;
  for (unsigned i = 0; i < kTries; ++i) {
    if (i > 0) co_await loop::sleep_for(kAskAgain);
    if (state->generation != generation) co_return;
    const auto identities = state->next.identities;
    auto found = co_await state->keyring->find(identities, ipc::keyring::Purpose::kTlsServer,
                                               loop::Clock::now() + kKeyringTime);
    if (state->generation != generation) co_return;
    trouble = found ? std::string() : found.error().text;
    if (!found) continue;
    usable = *std::move(found);
    if (usable.size() == identities.size()) break;
  }
  for (const auto& identity : state->next.identities) {
    if (!trouble.empty() || std::ranges::find(usable, identity) != usable.end()) continue;
    log::warning("there is no private key for the certificate of {}; {}", identity->describe(),
                 !usable.empty()       ? "it is not used"
                 : state->is_confirmed ? "the former one stays"
                                       : "TLS is not available");
  }
  if (!trouble.empty()) {
    // Each handshake asks again; nothing is known against these certificates.
    log::warning("{}", trouble);
    usable = state->next.identities;
  }
  if (!usable.empty()) {
    state->adopt(std::move(usable));
    state->is_confirmed = true;
  } else if (!state->is_confirmed) {
    state->context.reset();
  }
  state->settle();
}

loop::Task<void> TlsService::keep_tickets(std::shared_ptr<State> state, std::uint64_t generation) {
  while (state->generation == generation) {
    const auto keys = state->tickets;
    const auto next = co_await state->keyring->renew_tickets(keys, state->ticket_lifetime,
                                                             loop::Clock::now() + kKeyringTime);
    co_await loop::sleep_for(next ? *next : kTicketsAgain);
  }
}

}  // namespace postern::smtpd
