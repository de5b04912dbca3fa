#include "common/tls/session.h"

#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/sys/fd.h"
#include "common/tls/connection.h"
#include "common/tls/handshake_place.h"
#include "common/tls/openssl.h"
#include "common/tls/server_name.h"
#include "common/tls/trace.h"

namespace postern::tls {

namespace {

// Keys that are elsewhere do not answer, and so many wait already that no more job may be had.
constexpr std::chrono::milliseconds kJobPause{20};

std::string_view view(const char* text) { return text != nullptr ? text : std::string_view(); }

// ---- what algorithms were agreed on

std::string curve_of(EVP_PKEY* key) {
  char name[80];
  std::size_t length = 0;
  if (EVP_PKEY_get_group_name(key, name, sizeof(name), &length) != 1) return {};
  return {name, length};
}

std::string key_exchange_of(EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_DH:
    case EVP_PKEY_DHX:
      return fmt::format("DHE ({} bits)", EVP_PKEY_get_bits(key));
    case EVP_PKEY_EC:
      return fmt::format("ECDHE ({})", curve_of(key));
    default:
      return std::string(view(EVP_PKEY_get0_type_name(key)));
  }
}

// RSA keys sign in two ways, and those of elliptic curves are told by the curve.
std::string signature_of(int type, EVP_PKEY* key) {
  if (key == nullptr) return {};
  switch (type) {
    case EVP_PKEY_RSA:
      return fmt::format("RSA ({} bits)", EVP_PKEY_get_bits(key));
    case EVP_PKEY_RSA_PSS:
      return fmt::format("RSA-PSS ({} bits)", EVP_PKEY_get_bits(key));
    case EVP_PKEY_EC:
      return fmt::format("ECDSA ({})", curve_of(key));
    default:
      return std::string(view(OBJ_nid2sn(type)));
  }
}

void read_algorithms(Connection& connection, Session& session) {
  SSL& ssl = connection.ssl();
  session.protocol = view(SSL_get_version(&ssl));
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(&ssl);
  session.cipher = view(SSL_CIPHER_get_name(cipher));
  session.used_bits = SSL_CIPHER_get_bits(cipher, &session.algorithm_bits);
  session.is_reused = SSL_session_reused(&ssl) == 1;
  const unsigned char* name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(&ssl, &name, &length);
  session.application_protocol.assign(name, name + length);
  if (SSL_version(&ssl) < TLS1_3_VERSION) return;

  EVP_PKEY* exchanged = nullptr;
  if (SSL_get_peer_tmp_key(&ssl, &exchanged) == 1) {
    session.key_exchange = key_exchange_of(exchanged);
    EVP_PKEY_free(exchanged);
  }
  if (session.is_reused) return;
  const bool is_server = connection.context().is_server();
  X509* const own = SSL_get_certificate(&ssl);
  X509* const peer = SSL_get0_peer_certificate(&ssl);
  const auto describe = [](X509* certificate, int type, int digest, std::string& signature,
                           std::string& digest_name) {
    signature = signature_of(type, X509_get0_pubkey(certificate));
    if (digest != NID_undef) digest_name = view(OBJ_nid2sn(digest));
  };
  int type = NID_undef;
  int digest = NID_undef;
  if (own != nullptr && SSL_get_signature_type_nid(&ssl, &type) == 1) {
    SSL_get_signature_nid(&ssl, &digest);
    describe(own, type, digest, is_server ? session.server_signature : session.client_signature,
             is_server ? session.server_digest : session.client_digest);
  }
  digest = NID_undef;
  if (peer != nullptr && SSL_get_peer_signature_type_nid(&ssl, &type) == 1) {
    SSL_get_peer_signature_nid(&ssl, &digest);
    describe(peer, type, digest, is_server ? session.client_signature : session.server_signature,
             is_server ? session.client_digest : session.server_digest);
  }
}

// ---- what the peer's certificate is worth

// "/CN=Some CA", as log readers know it.
std::string whole_issuer(const X509& certificate) {
  std::array<char, 256> text{};
  X509_NAME_oneline(X509_get_issuer_name(&certificate), text.data(), static_cast<int>(text.size()));
  return text.data();
}

std::string distrust_text(int error, X509* certificate) {
  switch (error) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "self-signed certificate";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return certificate == nullptr
                 ? std::string("untrusted issuer")
                 : fmt::format("untrusted issuer {}", log::clean(whole_issuer(*certificate)));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "certificate is not yet valid";
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "certificate has expired";
    case X509_V_ERR_INVALID_PURPOSE:
      return "certificate not designated for this use";
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return "certificate chain longer than limit";
    default:
      return std::string(view(X509_verify_cert_error_string(error)));
  }
}

bool is_same_fingerprint(std::string_view wanted, std::string_view seen) {
  std::string plain(wanted);
  std::erase(plain, ':');
  std::string ours(seen);
  std::erase(ours, ':');
  return !ours.empty() && equal_nocase(plain, ours);
}

// The first of the certificate's names that is wanted; nothing when none is.
std::optional<std::string> find_name(X509& certificate, const ConnectOptions& options) {
  for (const auto& name : host_names(certificate)) {
    for (const auto& wanted : options.names) {
      if (matches_name(wanted, name, options.wildcard_spans_labels)) return name;
    }
  }
  return std::nullopt;
}

void demand_name(X509& certificate, const ConnectOptions& options, Session& session) {
  if (auto name = find_name(certificate, options)) {
    session.worth = Worth::kVerified;
    session.matched = log::clean(*name);
  } else {
    // A good certificate of somebody else's: Postfix's log calls that untrusted.
    session.worth = Worth::kUntrusted;
    session.distrust = "no name in the certificate matches";
  }
}

void read_peer(Connection& connection, const Connection::UnderWay& under_way,
               std::string_view digest, bool legacy_key_fingerprint, Session& session) {
  SSL& ssl = connection.ssl();
  X509* const peer = SSL_get0_peer_certificate(&ssl);
  if (peer == nullptr) return;
  session.has_peer_certificate = true;
  session.worth = Worth::kUntrusted;
  session.peer_subject = log::clean(subject_cn(*peer));
  session.peer_issuer = log::clean(issuer_name(*peer));
  session.peer_fingerprint = fingerprint(*peer, digest);
  session.peer_key_fingerprint = key_fingerprint(*peer, digest, legacy_key_fingerprint);
  // A resumed session has no chain any more, but the library's verdict on it.
  const long verdict = SSL_get_verify_result(&ssl);
  if (under_way.chain_error != X509_V_OK) {
    session.distrust = under_way.chain_distrust;
  } else if (verdict != X509_V_OK) {
    session.distrust = distrust_text(static_cast<int>(verdict), nullptr);
  } else {
    session.worth = Worth::kTrusted;
  }
}

// Usage 3 says all; usage 2 names an authority, for whom names count (RFC 7672 3.1).
void judge_by_tlsa(Connection& connection, const ConnectOptions& options, Session& session) {
  X509* const peer = SSL_get0_peer_certificate(&connection.ssl());
  if (session.worth != Worth::kTrusted || peer == nullptr) return;
  std::uint8_t usage = 0;
  std::uint8_t selector = 0;
  std::uint8_t matching_type = 0;
  const int depth =
      SSL_get0_dane_tlsa(&connection.ssl(), &usage, &selector, &matching_type, nullptr, nullptr);
  if (depth < 0) {
    // Resumed: the verdict is that of the first handshake, under the same records and names.
    if (session.is_reused) {
      session.worth = Worth::kVerified;
    } else {
      session.worth = Worth::kUntrusted;
      session.distrust = "no TLSA record matches";
    }
    return;
  }
  if (usage != 3) {
    demand_name(*peer, options, session);
  } else {
    session.worth = Worth::kVerified;
  }
  if (session.worth == Worth::kVerified) {
    session.matched = fmt::format("TLSA {} {} {}", usage, selector, matching_type);
  }
}

void judge(Connection& connection, const ConnectOptions& options, Session& session) {
  X509* const peer = SSL_get0_peer_certificate(&connection.ssl());
  if (peer == nullptr) return;
  switch (options.verify) {
    case Verify::kNothing:
      return;
    case Verify::kFingerprint:
      for (const auto& wanted : options.fingerprints) {
        if (!is_same_fingerprint(wanted, session.peer_fingerprint) &&
            !is_same_fingerprint(wanted, session.peer_key_fingerprint)) {
          continue;
        }
        session.worth = Worth::kVerified;
        session.matched = log::clean(wanted);
        session.distrust.clear();
        return;
      }
      session.worth = Worth::kUntrusted;
      session.distrust = "no fingerprint matches";
      return;
    case Verify::kDane:
      judge_by_tlsa(connection, options, session);
      return;
    case Verify::kName:
      if (session.worth == Worth::kTrusted) demand_name(*peer, options, session);
      return;
  }
}

// ---- the handshake

Failure failed(loop::Io io) {
  const bool is_late = io == loop::Io::kTimeout;
  return {io, is_late ? sys::errno_text(ETIMEDOUT) : std::string("lost connection"), {}, false};
}

Failure failed(Connection& connection, int result) {
  connection.set_broken();
  Failure failure;
  failure.library_errors = take_library_errors();
  if (const auto* under_way = connection.under_way(); !under_way->error.empty()) {
    failure.text = under_way->error;
    failure.is_ours = true;
  } else if (!failure.library_errors.empty()) {
    failure.text = std::to_string(result);
  } else if (connection.socket_error() != 0) {
    failure.text = sys::errno_text(connection.socket_error());
  } else {
    failure.io = loop::Io::kEof;
    failure.text = "lost connection";
  }
  return failure;
}

// Answers the name that the client sent; false ends the handshake.
loop::Task<void> answer_name(Connection::UnderWay& under_way, NamedIdentities& names,
                             loop::Deadline deadline) {
  const std::string name = *under_way.asked_name;
  auto found = co_await names.find(name, deadline);
  under_way.is_name_answered = true;
  if (found) {
    under_way.named = *std::move(found);
  } else {
    under_way.error = found.error().text;
  }
}

// The job that waits for a signature is gone on with whatever came of it: a paused job would keep
// its stack for ever.
loop::Task<void> answer_signature(const Context& context, Connection::UnderWay& under_way,
                                  loop::Deadline deadline) {
  Signing& signing = under_way.signing;
  signing.request.purpose =
      context.is_server() ? ipc::keyring::Purpose::kTlsServer : ipc::keyring::Purpose::kTlsClient;
  if (context.signer() == nullptr) {
    signing.answer = fail_temporary("nobody to sign");
  } else {
    auto request = std::move(signing.request);
    signing.answer = co_await context.signer()->sign(std::move(request), deadline);
  }
  signing.state = Signing::State::kAnswered;
  if (!signing.answer) under_way.error = signing.answer.error().text;
}

// One step of the handshake.
int step(Connection& connection, Connection::UnderWay& under_way, int& wanted) {
  ERR_clear_error();
  connection.clear_socket_error();
  const SigningScope scope(under_way.signing);
  const int result = SSL_do_handshake(&connection.ssl());
  wanted = result == 1 ? SSL_ERROR_NONE : SSL_get_error(&connection.ssl(), result);
  return result;
}

// Goes through the handshake to its end. `names` is for servers.
loop::Task<std::optional<Failure>> shake_hands(loop::Stream& stream, Connection& connection,
                                               Connection::UnderWay& under_way,
                                               NamedIdentities* names, loop::Deadline deadline) {
  // Jobs cost a stack each: only where a key is elsewhere, and only for the handshake.
  const bool has_signer = connection.context().signer() != nullptr;
  if (has_signer) SSL_set_mode(&connection.ssl(), SSL_MODE_ASYNC);
  // Who says nothing takes no place from those who do.
  if (connection.context().is_server() && under_way.put_back.empty()) {
    const loop::Wait wait = co_await stream.watch().readable(deadline);
    if (wait == loop::Wait::kTimeout) co_return failed(loop::Io::kTimeout);
    if (wait == loop::Wait::kCancelled) co_return failed(loop::Io::kCancelled);
  }
  HandshakePlace place;
  const bool has_place = co_await place.take(deadline);
  if (!has_place) co_return failed(loop::Io::kTimeout);
  for (;;) {
    int wanted = SSL_ERROR_NONE;
    const int result = step(connection, under_way, wanted);
    if (result == 1) {
      if (has_signer) SSL_clear_mode(&connection.ssl(), SSL_MODE_ASYNC);
      co_return std::nullopt;
    }
    loop::Wait wait = loop::Wait::kReady;
    const loop::Deadline until = place.limit(deadline);
    if (wanted == SSL_ERROR_WANT_CLIENT_HELLO_CB && names != nullptr) {
      co_await answer_name(under_way, *names, deadline);
      continue;
    }
    if (wanted == SSL_ERROR_WANT_ASYNC) {
      co_await answer_signature(connection.context(), under_way, deadline);
      continue;
    }
    if (wanted == SSL_ERROR_WANT_ASYNC_JOB) {
      if (loop::Loop::current().now() >= deadline) co_return failed(loop::Io::kTimeout);
      co_await loop::sleep_for(kJobPause);
      continue;
    }
    if (wanted == SSL_ERROR_WANT_READ) {
      wait = co_await stream.watch().readable(until);
    } else if (wanted == SSL_ERROR_WANT_WRITE) {
      wait = co_await stream.watch().writable(until);
    } else {
      co_return failed(connection, result);
    }
    if (wait == loop::Wait::kCancelled) co_return failed(loop::Io::kCancelled);
    if (wait == loop::Wait::kTimeout) {
      if (until >= deadline) co_return failed(loop::Io::kTimeout);
      place.leave();
    }
  }
}

std::optional<Failure> out_of_memory(const Connection* connection) {
  if (connection != nullptr) return std::nullopt;
  return Failure{loop::Io::kError, "out of memory", {}, true};
}

Failure unusable(std::string_view what) {
  Failure failure{loop::Io::kError, std::string(what), take_library_errors(), true};
  return failure;
}

std::optional<Failure> set_tlsa(SSL& ssl, const ConnectOptions& options) {
  if (options.tlsa.empty()) return std::nullopt;
  const char* const base = options.server_name.empty() ? nullptr : options.server_name.c_str();
  if (SSL_dane_enable(&ssl, base) <= 0) return unusable("DANE");
  SSL_dane_set_flags(&ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
  // Names are ours to compare: a record may stand for more than one.
  X509_VERIFY_PARAM_set1_host(SSL_get0_param(&ssl), nullptr, 0);
  for (const auto& record : options.tlsa) {
    if (!is_usable(record)) continue;
    const auto* const data =
        static_cast<const unsigned char*>(static_cast<const void*>(record.data.data()));
    if (SSL_dane_tlsa_add(&ssl, record.usage, record.selector, record.matching_type, data,
                          record.data.size()) < 0) {
      return unusable("TLSA record");
    }
  }
  ERR_clear_error();
  return std::nullopt;
}

std::optional<Failure> set_options(SSL& ssl, const ConnectOptions& options) {
  ERR_clear_error();
  if (auto failure = set_tlsa(ssl, options)) return failure;
  if (!options.server_name.empty() &&
      SSL_set_tlsext_host_name(&ssl, options.server_name.c_str()) != 1) {
    return unusable("server name");
  }
  if (options.protocols) {
    SSL_set_options(&ssl, options.protocols->forbidden);
    if (SSL_set_min_proto_version(&ssl, options.protocols->lowest) != 1 ||
        SSL_set_max_proto_version(&ssl, options.protocols->highest) != 1) {
      return unusable("protocol versions");
    }
  }
  if (!options.ciphers.empty() && SSL_set_cipher_list(&ssl, options.ciphers.c_str()) != 1) {
    return unusable("cipher list");
  }
  std::vector<unsigned char> protocols;
  for (const auto& name : options.application_protocols) {
    protocols.push_back(static_cast<unsigned char>(name.size()));
    protocols.insert(protocols.end(), name.begin(), name.end());
  }
  if (!protocols.empty() &&
      SSL_set_alpn_protos(&ssl, protocols.data(), static_cast<unsigned>(protocols.size())) != 0) {
    return unusable("application protocols");
  }
  if (!options.session.empty()) {
    const auto* bytes =
        static_cast<const unsigned char*>(static_cast<const void*>(options.session.data()));
    const SslSessionPtr session(
        d2i_SSL_SESSION(nullptr, &bytes, static_cast<long>(options.session.size())));
    if (session) SSL_set_session(&ssl, session.get());
    ERR_clear_error();
  }
  return std::nullopt;
}

}  // namespace

// Chains are judged after the handshake, by whoever asked: the first trouble is kept for that.
int judge_chain_later(int is_good, X509_STORE_CTX* store) {
  if (is_good == 1) return 1;
  const auto* const ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* const under_way = Connection::of(ssl)->under_way();
  if (under_way != nullptr && under_way->chain_error == X509_V_OK) {
    under_way->chain_error = X509_STORE_CTX_get_error(store);
    under_way->chain_distrust =
        distrust_text(under_way->chain_error, X509_STORE_CTX_get_current_cert(store));
  }
  return 1;
}

int look_at_hello(SSL* ssl, int* alert, void* /*unused*/) {
  auto* const under_way = Connection::of(ssl)->under_way();
  if (under_way == nullptr || !under_way->finds_names) return SSL_CLIENT_HELLO_SUCCESS;
  if (!under_way->is_name_answered) {
    const unsigned char* bytes = nullptr;
    std::size_t length = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &length) != 1) {
      return SSL_CLIENT_HELLO_SUCCESS;
    }
    const auto name =
        parse_server_name({static_cast<const char*>(static_cast<const void*>(bytes)), length});
    if (!name) return SSL_CLIENT_HELLO_SUCCESS;
    under_way->asked_name = std::move(name);
    return SSL_CLIENT_HELLO_RETRY;
  }
  if (under_way->error.empty() && under_way->named) {
    if (auto used = use_identity(*ssl, *under_way->named); !used) {
      under_way->error = used.error().text;
    }
  }
  if (under_way->error.empty()) return SSL_CLIENT_HELLO_SUCCESS;
  *alert = SSL_AD_INTERNAL_ERROR;
  return SSL_CLIENT_HELLO_ERROR;
}

bool has_named_identity(const SSL* ssl) {
  const auto* const under_way = Connection::of(ssl)->under_way();
  return under_way != nullptr && under_way->named != nullptr;
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  Connection::of(ssl)->give_session(session);
  return 0;  // its bytes are what is kept
}

std::string_view worth_name(Worth worth) {
  constexpr std::array<std::string_view, 4> kNames = {"Anonymous", "Untrusted", "Trusted",
                                                      "Verified"};
  return kNames[static_cast<std::size_t>(worth)];
}

std::string Session::describe() const {
  std::string text =
      fmt::format("{} with cipher {} ({}/{} bits)", protocol, cipher, used_bits, algorithm_bits);
  const auto add = [&](std::string_view what, std::string_view value) {
    if (!value.empty()) text.append(what).append(value);
  };
  add(" key-exchange ", key_exchange);
  add(" server-signature ", server_signature);
  add(" server-digest ", server_digest);
  add(" client-signature ", client_signature);
  add(" client-digest ", client_digest);
  return text;
}

loop::Task<Handshake<Session>> accept(loop::Stream& stream, ContextPtr context,
                                      AcceptOptions options, loop::Deadline deadline) {
  assert(context->is_server() && stream.transport() == nullptr);
  auto connection = Connection::make(stream, std::move(context));
  if (auto failure = out_of_memory(connection.get())) co_return std::unexpected(*failure);
  Connection::UnderWay under_way;
  under_way.finds_names = options.names != nullptr;
  connection->begin(&under_way);
  if (options.has_begun) under_way.put_back = stream.input();
  SSL_set_accept_state(&connection->ssl());
  const HandshakeTrace trace(connection->ssl(), std::move(options.trace.peer), options.trace.level);
  auto failure = co_await shake_hands(stream, *connection, under_way, options.names, deadline);
  connection->begin(nullptr);
  if (failure) co_return std::unexpected(*std::move(failure));

  Session session;
  read_algorithms(*connection, session);
  read_peer(*connection, under_way, options.fingerprint_digest, options.legacy_key_fingerprint,
            session);
  if (under_way.named) session.server_name = *under_way.asked_name;
  ERR_clear_error();
  stream.set_transport(std::move(connection));
  co_return session;
}

loop::Task<Handshake<Session>> connect(loop::Stream& stream, ContextPtr context,
                                       ConnectOptions options, loop::Deadline deadline) {
  assert(!context->is_server() && stream.transport() == nullptr);
  auto connection = Connection::make(stream, std::move(context));
  if (auto failure = out_of_memory(connection.get())) co_return std::unexpected(*failure);
  if (auto failure = set_options(connection->ssl(), options)) co_return std::unexpected(*failure);
  Connection::UnderWay under_way;
  connection->begin(&under_way);
  SSL_set_connect_state(&connection->ssl());
  const HandshakeTrace trace(connection->ssl(), std::move(options.trace.peer), options.trace.level);
  auto failure = co_await shake_hands(stream, *connection, under_way, nullptr, deadline);
  connection->begin(nullptr);
  if (failure) co_return std::unexpected(*std::move(failure));

  Session session;
  read_algorithms(*connection, session);
  read_peer(*connection, under_way, options.fingerprint_digest, options.legacy_key_fingerprint,
            session);
  judge(*connection, options, session);
  ERR_clear_error();
  if (options.on_session &&
      (options.verify == Verify::kNothing || session.worth == Worth::kVerified)) {
    for (auto& bytes : under_way.sessions) options.on_session(std::move(bytes));
    connection->on_session(std::move(options.on_session));
  }
  stream.set_transport(std::move(connection));
  co_return session;
}

}  // namespace postern::tls
