// starttls.cpp - STARTTLS (RFC 3207) and TLS before the greeting (smtpd_tls_wrappermode): the
// session becomes secret, and forgets what was said before.

#include <fmt/format.h>

#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/tls/tls.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

// "setting up TLS connection" and what else shows a handshake's course.
constexpr std::int64_t kVerbose = 2;

}  // namespace

const tls::Session& Session::tls() const {
  static const tls::Session kPlain;
  return tls_ ? *tls_ : kPlain;
}

bool Session::has_trusted_certificate() const {
  return tls_ != nullptr && tls_->has_peer_certificate && tls_->worth >= tls::Worth::kTrusted;
}

bool Session::has_certificate() const { return tls_ != nullptr && tls_->has_peer_certificate; }

std::vector<std::string> Session::certificate_fingerprints() const {
  if (!has_certificate()) return {};
  return {tls_->peer_fingerprint, tls_->peer_key_fingerprint};
}

bool Session::offers_tls() const {
  // A level that demands TLS says so, and 454 when it cannot be had.
  return settings_->tls.is_offered && !is_encrypted() &&
         (settings_->tls.is_demanded || server_.tls().context() != nullptr);
}

bool Session::is_tls_due(smtpwire::Verb verb) const {
  if (!settings_->tls.is_demanded || is_encrypted()) return false;
  switch (verb) {
    case smtpwire::Verb::kHelo:
    case smtpwire::Verb::kEhlo:
    case smtpwire::Verb::kStarttls:
    case smtpwire::Verb::kXclient:
    case smtpwire::Verb::kNoop:
    case smtpwire::Verb::kQuit:
    case smtpwire::Verb::kLhlo:
    case smtpwire::Verb::kExpn:
    case smtpwire::Verb::kHelp:
    case smtpwire::Verb::kUnknown:
      return false;
    default:
      return true;
  }
}

loop::Task<std::optional<mail::Reply>> Session::starttls_command(
    const smtpwire::CommandLine& command) {
  if (!command.argument.empty()) co_return mail::make_reply(501, "5.5.4 Syntax: STARTTLS");
  if (is_encrypted()) co_return mail::make_reply(554, "5.5.1 Error: TLS already active");
  if (!settings_->tls.is_offered || discards(kEhloStarttls)) {
    co_return mail::make_reply(502, "5.5.1 Error: command not implemented");
  }
  co_await server_.tls().settle();
  if (server_.tls().context() == nullptr) {
    co_return mail::make_reply(454, "4.7.0 TLS not available due to local problem");
  }
  if (auto refusal = co_await count(ipc::anvil::Event::kNewTls)) co_return *refusal;
  const bool is_sent = co_await send(mail::make_reply(220, "2.0.0 Ready to start TLS"));
  const bool is_flushed = is_sent && co_await flush();
  if (!is_flushed) {
    closing_ = true;
    co_return std::nullopt;
  }
  const bool is_secret = co_await start_tls();
  if (is_secret) {
    // RFC 3207 4.2: nothing that the client said in the clear counts any more.
    forget_login();
    reset();
    helo_.clear();
    protocol_ = "SMTP";
    may_xverp_ = false;
    has_early_input_ = false;
    splitter_ = smtpwire::LineSplitter(settings_->line_length_limit);
    restriction_state_.reset();
  } else if (!is_encrypted()) {
    ++counts_[static_cast<std::size_t>(smtpwire::Verb::kStarttls)].failed;
  }
  co_return std::nullopt;
}

loop::Task<bool> Session::wrap() {
  if (!settings_->tls.is_wrapped) co_return true;
  co_await server_.tls().settle();
  if (server_.tls().context() == nullptr) {
    log::warning("TLS is not available for {}: the connection is dropped", client());
    end_ = End::kDropped;
    co_return false;
  }
  co_return co_await start_tls();
}

loop::Task<std::optional<mail::Reply>> Session::count_wrapped() {
  if (!settings_->tls.is_wrapped) co_return std::nullopt;
  const auto excess = co_await count(ipc::anvil::Event::kNewTls);
  if (!excess) co_return std::nullopt;
  co_return mail::make_reply(421, fmt::format("4.7.0 {} Error: too many new TLS sessions from {}",
                                              settings_->address.myhostname, client_address_));
}

// The client's certificate is there and good, where that is demanded.
bool Session::is_certificate_enough() const {
  if (!settings_->tls.demands_certificate || has_trusted_certificate()) return true;
  if (!has_certificate()) {
    log::info("NOQUEUE: abort: TLS from {}: No client certificate presented", client());
  } else {
    log::info("NOQUEUE: abort: TLS from {}: Client certificate not trusted: {}", client(),
              tls_->distrust);
  }
  return false;
}

loop::Task<bool> Session::start_tls() {
  const TlsSettings& settings = settings_->tls;
  if (settings.loglevel >= kVerbose) log::info("setting up TLS connection from {}", client());
  tls::KeyringNames names(server_.tls().keyring(), settings.names);
  tls::AcceptOptions options;
  options.fingerprint_digest = settings.fingerprint_digest;
  options.legacy_key_fingerprint = settings.legacy_key_fingerprint;
  if (!settings.names.empty()) options.names = &names;
  options.has_begun = settings.is_wrapped;
  if (settings.loglevel >= tls::kTraceMessages) {
    options.trace = {client(), static_cast<int>(settings.loglevel)};
  }
  const auto context = server_.tls().context();
  const auto deadline = loop::Clock::now() + settings.timeout;
  auto done = co_await tls::accept(stream_, context, std::move(options), deadline);
  if (!done) {
    const tls::Failure& failure = done.error();
    if (failure.is_ours) {
      log::warning("TLS from {}: {}", client(), log::clean(failure.text));
    } else {
      log::info("SSL_accept error from {}: {}", client(), failure.text);
    }
    for (const auto& line : failure.library_errors) {
      log::warning("TLS library problem: {}", log::clean(line));
    }
    closing_ = true;
    end_ = End::kLost;
    co_return false;
  }
  tls_ = server_.tls().describe(*std::move(done));
  if (settings.loglevel >= kVerbose && has_certificate()) {
    log::info("{}: subject_CN={}, issuer={}, fingerprint={}, pkey_fingerprint={}", client(),
              tls_->peer_subject, tls_->peer_issuer, tls_->peer_fingerprint,
              tls_->peer_key_fingerprint);
  }
  if (settings.loglevel >= 1) {
    const std::string name = tls_->server_name.empty() ? "" : " to " + tls_->server_name;
    log::info("{} TLS connection {} from {}{}: {}", tls::worth_name(tls_->worth),
              tls_->is_reused ? "reused" : "established", client(), name, tls_->describe());
  }
  if (!is_certificate_enough()) {
    end_ = End::kDropped;
    co_await refuse(mail::make_reply(
        421, fmt::format("4.7.1 {} Error: a trusted client certificate is required",
                         settings_->address.myhostname)));
    co_return false;
  }
  set_tls_macros();
  co_return true;
}

void Session::set_tls_macros() {
  if (milters_ == nullptr || tls_ == nullptr) return;
  milters_->set("{tls_version}", tls_->protocol);
  milters_->set("{cipher}", tls_->cipher);
  milters_->set("{cipher_bits}", std::to_string(tls_->used_bits));
  if (has_certificate()) {
    milters_->set("{cert_subject}", tls_->peer_subject);
    milters_->set("{cert_issuer}", tls_->peer_issuer);
  }
}

// The lines of Received: as Postfix writes them.
std::vector<std::string> Session::tls_trace() const {
  std::vector<std::string> lines;
  if (tls_ == nullptr || !settings_->tls.has_trace) return lines;
  lines.push_back(fmt::format("using {} with cipher {} ({}/{} bits)", tls_->protocol, tls_->cipher,
                              tls_->used_bits, tls_->algorithm_bits));
  std::string server;
  const auto add = [](std::string& line, std::string_view what, const std::string& value) {
    if (value.empty()) return;
    if (!line.empty()) line += ' ';
    line.append(what).append(value);
  };
  add(server, "key-exchange ", tls_->key_exchange);
  add(server, "server-signature ", tls_->server_signature);
  add(server, "server-digest ", tls_->server_digest);
  if (!server.empty()) lines.push_back(std::move(server));
  std::string of_client;
  add(of_client, "client-signature ", tls_->client_signature);
  add(of_client, "client-digest ", tls_->client_digest);
  if (!of_client.empty()) lines.push_back(std::move(of_client));
  return lines;
}

std::string Session::tls_peer_trace() const {
  if (tls_ == nullptr || !settings_->tls.has_trace) return {};
  if (has_certificate()) {
    return fmt::format("Client CN \"{}\", Issuer \"{}\" ({})", tls_->peer_subject,
                       tls_->peer_issuer,
                       has_trusted_certificate() ? "verified OK" : "not verified");
  }
  return settings_->tls.asks_certificate ? "Client did not present a certificate"
                                         : "No client certificate requested";
}

}  // namespace postern::smtpd
