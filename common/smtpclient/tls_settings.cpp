#include "common/smtpclient/tls_settings.h"

#include <algorithm>

namespace postern::smtpclient {

namespace {

tls::CipherLists lists_of(const config::TlsParams& params) {
  return {.high = params.tls_high_cipherlist,
          .medium = params.tls_medium_cipherlist,
          .low = params.tls_low_cipherlist,
          .export_grade = params.tls_export_cipherlist,
          .null = params.tls_null_cipherlist};
}

Result<tls::ContextPtr> make_context(const config::TlsParams& params,
                                     const TlsMaterials& materials) {
  tls::ClientConfig config;
  TRY(config.algorithms.options, tls::parse_ssl_options(params.tls_ssl_options));
  TRY(config.algorithms.workarounds_off, tls::parse_workarounds(params.tls_disable_workarounds));
  config.algorithms.groups = tls::usable_groups(params.tls_eecdh_auto_curves);
  config.algorithms.ciphers = "ALL:COMPLEMENTOFALL";  // each destination's terms choose among them
  config.identities = materials.identities;
  config.signer = materials.signer;
  config.trust.authorities = materials.authorities;
  config.trust.depth = static_cast<unsigned>(params.smtp_tls_scert_verifydepth);
  config.use_sha512_tlsa =
      params.tls_dane_digests.empty() ||
      std::ranges::find(params.tls_dane_digests, "sha512") != params.tls_dane_digests.end();
  return tls::Context::client(std::move(config));
}

}  // namespace

bool TlsSettings::is_used() const {
  return !policy || policy->level != TlsLevel::kNone || !params.smtp_tls_policy_maps.empty() ||
         !params.smtp_tls_per_site.empty();
}

const Result<tls::ContextPtr>& TlsSettings::context() const {
  if (!lazy_->made) {
    lazy_->made = make_context(params, lazy_->materials);
    lazy_->materials = {};
  }
  return *lazy_->made;
}

TlsSettings TlsSettings::load(config::TlsParams params, TlsMaterials materials) {
  TlsSettings out;
  out.params = std::move(params);
  out.policy = default_tls_policy(out.params);
  out.cipher_lists = lists_of(out.params);
  out.anchor_files = std::move(materials.anchor_files);
  out.lazy_->materials = std::move(materials);
  return out;
}

Result<TlsSettings::Terms> TlsSettings::terms_of(const TlsPolicy& policy_of_site) const {
  Terms terms;
  TRY(terms.protocols, tls::parse_protocols(policy_of_site.protocols));
  TRY(terms.ciphers,
      tls::cipher_string(cipher_lists, policy_of_site.ciphers, policy_of_site.exclude));
  return terms;
}

}  // namespace postern::smtpclient
