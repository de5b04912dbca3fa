// STARTTLS of the client (RFC 3207), and what a server's certificate is worth to its policy.

#include <fmt/format.h>

#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/smtpclient/connection.h"

namespace postern::smtpclient {

namespace {

Verdict insecure(const Endpoint& endpoint, std::string_view status, std::string text) {
  Verdict out = own_failure(status, std::move(text));
  out.relay = endpoint.relay();
  return out;
}

std::string joined(const smtpwire::ServerReply& reply) { return log::clean(reply.to_line(), 512); }

// smtp_tls_loglevel 2, in Postfix's words.
void log_details(const std::string& relay, TlsLevel level, const tls::Session& session) {
  if (session.is_reused) log::info("{}: Reusing old session", relay);
  if (!session.has_peer_certificate) return;
  if (session.worth == tls::Worth::kVerified && !session.matched.empty()) {
    const std::string_view what = is_dane(level)                    ? "Matched DANE"
                                  : level == TlsLevel::kFingerprint ? "Matched fingerprint:"
                                                                    : "matched peername:";
    log::info("{}: {} {}", relay, what, session.matched);
  }
  log::info("{}: subject_CN={}, issuer_CN={}, fingerprint={}, pkey_fingerprint={}", relay,
            session.peer_subject, session.peer_issuer, session.peer_fingerprint,
            session.peer_key_fingerprint);
}

// What the library finds for itself has its number in the line, as from Postfix.
void log_distrust(const std::string& relay, std::string_view distrust) {
  std::string_view found;
  if (distrust == "no name in the certificate matches") found = "num=62:hostname mismatch";
  if (distrust == "no fingerprint matches" || distrust == "no TLSA record matches") {
    found = "num=65:no matching DANE TLSA records";
  }
  if (found.empty()) {
    log::info("certificate verification failed for {}: {}", relay, distrust);
  } else {
    log::info("server certificate verification failed for {}: {}", relay, found);
  }
}

}  // namespace

// An empty verdict: encrypted, or plain where the policy bears it.
loop::Task<Verdict> Connection::begin_tls(SettingsPtr settings) {
  const bool is_required = is_mandatory(plan->policy.level);
  if (!features_.starttls) {
    tls_try = TlsTry{.failure = "starttls-not-supported"};
    if (!is_required) co_return Verdict{};
    co_return insecure(
        endpoint_, "4.7.4",
        fmt::format("TLS is required, but was not offered by host {}", endpoint_.host()));
  }
  const Reply reply = co_await ask("STARTTLS", settings->tls.params.smtp_starttls_timeout);
  if (!reply.is_ok()) co_return failure(reply, Step::kStarttls);
  if (reply.reply.klass() != '2') {
    features_.starttls = false;
    tls_try = TlsTry{.failure = "starttls-not-supported", .detail = joined(reply.reply)};
    if (!is_required) co_return Verdict{};
    Verdict refused = said(endpoint_, reply.reply, Step::kStarttls);
    refused.text = fmt::format("TLS is required, but host {} refused to start TLS: {}",
                               endpoint_.host(), joined(reply.reply));
    co_return refused;
  }
  const Verdict outcome = co_await shake_hands(settings);
  co_return outcome;
}

loop::Task<Verdict> Connection::shake_hands(SettingsPtr settings) {
  const config::TlsParams& params = settings->tls.params;
  const loop::Deadline deadline = loop::Clock::now() + params.smtp_starttls_timeout;
  const std::string relay = endpoint_.relay();
  if (params.smtp_tls_loglevel > 1) log::info("setting up TLS connection to {}", relay);
  tls::ConnectOptions options = plan->options;
  if (params.smtp_tls_loglevel >= tls::kTraceMessages) {
    options.trace = {relay, static_cast<int>(params.smtp_tls_loglevel)};
  }
  const auto found = co_await tls::connect(stream_, plan->context, std::move(options), deadline);
  if (!found) {
    has_tls_failed_ = true;
    const tls::Failure& why = found.error();
    tls_try = TlsTry{.failure = "validation-failure", .detail = "handshake: " + why.text};
    if (!why.library_errors.empty()) tls_try->detail = why.library_errors.front();
    log::info("SSL_connect error to {}: {}", relay, why.text);
    for (const auto& error : why.library_errors) log::warning("TLS library problem: {}", error);
    co_return insecure(endpoint_, "4.7.5", "Cannot start TLS: handshake failure");
  }
  tls_try = judge_certificate(plan->reported, *found);
  if (wants_session) session = std::make_unique<tls::Session>(*found);
  const bool is_mismatch = must_match(plan->policy.level) && found->worth != tls::Worth::kVerified;
  if (params.smtp_tls_loglevel > 1) log_details(relay, plan->policy.level, *found);
  if (params.smtp_tls_loglevel > 0) {
    if (!found->distrust.empty() && (is_mismatch || params.smtp_tls_loglevel > 1)) {
      log_distrust(relay, found->distrust);
    }
    log::info("{} TLS connection established to {}: {}", tls::worth_name(found->worth), relay,
              found->describe());
  }
  if (is_mismatch) co_return insecure(endpoint_, "4.7.5", "Server certificate not verified");
  co_return Verdict{};
}

}  // namespace postern::smtpclient
