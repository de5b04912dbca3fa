#include "common/tls/context.h"

#include <openssl/async.h>
#include <openssl/decoder.h>
#include <openssl/x509v3.h>

#include <cstring>

namespace postern::tls {

namespace {

constexpr std::size_t kMaxJobs = 128;

using ChainPtr =
    std::unique_ptr<STACK_OF(X509), Freed<[](STACK_OF(X509) * stack) { sk_X509_free(stack); }>>;

std::unexpected<Error> unusable(std::string_view what) {
  return fail(Error::Kind::kConfig, fmt::format("{}: {}", what, take_library_reason()));
}

// A job is a stack of 32 KiB, kept for the next one: as many at once as there may be handshakes
// that wait for a signature.
void limit_jobs() {
  static thread_local const int done = ASYNC_init_thread(kMaxJobs, 0);
  static_cast<void>(done);
}

ChainPtr issuers_of(const Identity& identity) {
  ChainPtr chain(sk_X509_new_null());
  for (const auto& issuer : identity.issuers) sk_X509_push(chain.get(), issuer.get());
  return chain;
}

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_length,
                    const unsigned char* offered, unsigned offered_length, void*) {
  static constexpr unsigned char kOurs[] = {4, 's', 'm', 't', 'p'};
  unsigned char* found = nullptr;
  const int result =
      SSL_select_next_proto(&found, chosen_length, kOurs, sizeof(kOurs), offered, offered_length);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int acknowledge_name(SSL* ssl, int*, void*) {
  // The name was looked at in the hello callback.
  return has_named_identity(ssl) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

Result<void> set_dh(SSL_CTX& context, std::string_view pem) {
  if (pem.empty()) {
    SSL_CTX_set_dh_auto(&context, 1);
    return {};
  }
  EVP_PKEY* parameters = nullptr;
  const BioPtr in = read_memory(pem);
  OSSL_DECODER_CTX* const decoder = OSSL_DECODER_CTX_new_for_pkey(
      &parameters, "PEM", nullptr, "DH", OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS, nullptr, nullptr);
  const bool is_good = decoder != nullptr && OSSL_DECODER_from_bio(decoder, in.get()) == 1;
  OSSL_DECODER_CTX_free(decoder);
  if (!is_good) return unusable("Diffie-Hellman parameters");
  // Takes the parameters over when it succeeds.
  if (SSL_CTX_set0_tmp_dh_pkey(&context, parameters) != 1) {
    EVP_PKEY_free(parameters);
    return unusable("Diffie-Hellman parameters");
  }
  return {};
}

}  // namespace

Result<void> use_identity(SSL& ssl, const Identity& identity) {
  ERR_clear_error();
  SSL_certs_clear(&ssl);
  const ChainPtr chain = issuers_of(identity);
  if (SSL_use_cert_and_key(&ssl, identity.certificate.get(), identity.key.get(), chain.get(), 1) !=
      1) {
    return unusable("certificate");
  }
  return {};
}

Result<void> Context::set_common(const Algorithms& algorithms, const Trust& trust,
                                 const std::vector<IdentityPtr>& identities) {
  init_library();
  if (signer_) limit_jobs();
  ERR_clear_error();
  context_.reset(SSL_CTX_new(is_server_ ? TLS_server_method() : TLS_client_method()));
  if (!context_) return unusable("SSL_CTX_new");
  SSL_CTX& context = *context_;

  // Old protocols and short keys are the configuration's to forbid, as in Postfix.
  SSL_CTX_set_security_level(&context, 0);
  SSL_CTX_set_options(&context, (SSL_OP_ALL & ~algorithms.workarounds_off) |
                                    SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION |
                                    SSL_OP_NO_COMPRESSION | algorithms.options |
                                    algorithms.protocols.forbidden);
  SSL_CTX_clear_options(&context, algorithms.workarounds_off);
  SSL_CTX_set_mode(&context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(&context, 1);
  if (SSL_CTX_set_min_proto_version(&context, algorithms.protocols.lowest) != 1 ||
      SSL_CTX_set_max_proto_version(&context, algorithms.protocols.highest) != 1) {
    return unusable("protocol versions");
  }
  std::string ciphers = algorithms.ciphers;
  // A key that only signs cannot decrypt.
  if (signer_ && is_server_) ciphers = (ciphers.empty() ? "DEFAULT" : ciphers) + ":!kRSA";
  if (!ciphers.empty() && SSL_CTX_set_cipher_list(&context, ciphers.c_str()) != 1) {
    return unusable("cipher list " + ciphers);
  }
  if (!algorithms.groups.empty() &&
      SSL_CTX_set1_groups_list(&context, algorithms.groups.c_str()) != 1) {
    return unusable("curves " + algorithms.groups);
  }
  for (const auto& identity : identities) {
    const ChainPtr chain = issuers_of(*identity);
    if (SSL_CTX_use_cert_and_key(&context, identity->certificate.get(), identity->key.get(),
                                 chain.get(), 1) != 1) {
      return unusable("certificate");
    }
  }
  // Issuers are sent as configured, none is looked for.
  SSL_CTX_set_mode(&context, SSL_MODE_NO_AUTO_CHAIN);

  X509_STORE* const store = SSL_CTX_get_cert_store(&context);
  TRY(const auto authorities, parse_certificates(trust.authorities));
  for (const auto& authority : authorities) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) return unusable("CA certificate");
  }
  TRY(const auto announced, parse_certificates(trust.announced));
  for (const auto& authority : announced) {
    if (SSL_CTX_add_client_CA(&context, authority.get()) != 1) return unusable("CA certificate");
  }
  SSL_CTX_set_verify_depth(&context, static_cast<int>(trust.depth));
  if (trust.any_purpose) SSL_CTX_set_purpose(&context, X509_PURPOSE_ANY);
  return {};
}

Result<ContextPtr> Context::server(ServerConfig config) {
  auto made = std::shared_ptr<Context>(new Context());
  made->is_server_ = true;
  made->asks_certificate_ = config.ask_certificate;
  made->signer_ = std::move(config.signer);
  DO(made->set_common(config.algorithms, config.trust, config.identities));
  SSL_CTX& context = *made->context_;
  if (config.prefer_own_ciphers) {
    SSL_CTX_set_options(&context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  }
  DO(set_dh(context, config.dh_parameters));
  if (config.ask_certificate) {
    SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, judge_chain_later);
  }
  SSL_CTX_set_alpn_select_cb(&context, choose_protocol, nullptr);
  SSL_CTX_set_tlsext_servername_callback(&context, acknowledge_name);
  SSL_CTX_set_client_hello_cb(&context, look_at_hello, nullptr);

  // Nothing is kept here for resumption: tickets carry it, to whichever process comes next.
  SSL_CTX_set_session_cache_mode(&context, config.issue_session_ids
                                               ? SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL
                                               : SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kSessionContext[] = "postern/smtpd";
  SSL_CTX_set_session_id_context(&context, kSessionContext, sizeof(kSessionContext) - 1);
  SSL_CTX_set_timeout(&context, static_cast<long>(config.session_lifetime.count()));
  made->ticket_keys_ = std::move(config.ticket_keys);
  if (made->ticket_keys_ && config.session_lifetime.count() > 0) {
    made->ticket_keys_->use_for(context);
    SSL_CTX_set_num_tickets(&context, 1);
  } else {
    SSL_CTX_set_options(&context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(&context, 0);
  }
  ERR_clear_error();
  return made;
}

Result<ContextPtr> Context::client(ClientConfig config) {
  auto made = std::shared_ptr<Context>(new Context());
  made->asks_certificate_ = true;
  made->signer_ = std::move(config.signer);
  DO(made->set_common(config.algorithms, config.trust, config.identities));
  SSL_CTX& context = *made->context_;
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER, judge_chain_later);
  SSL_CTX_set_session_cache_mode(
      &context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
  SSL_CTX_sess_set_new_cb(&context, keep_session);
  if (SSL_CTX_dane_enable(&context) != 1 ||
      (!config.use_sha512_tlsa && SSL_CTX_dane_mtype_set(&context, nullptr, 2, 0) != 1)) {
    return unusable("DANE");
  }
  ERR_clear_error();
  return made;
}

}  // namespace postern::tls
