#include "make_certificate.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cassert>

#include "common/tls/certificate.h"

namespace postern::tls {

namespace {

template <typename Write>
std::string pem_of(Write write) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  write(out.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  assert(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

MadeCertificate make_certificate(const CertificateWish& wish) {
  static long serial = 1000;
  const KeyPtr key(wish.is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  const X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), wish.valid_from);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), wish.valid_from + wish.valid_for);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_NID(
      name, NID_commonName, MBSTRING_UTF8,
      static_cast<const unsigned char*>(static_cast<const void*>(wish.common_name.data())),
      static_cast<int>(wish.common_name.size()), -1, 0);
  X509Ptr issuer;
  KeyPtr issuer_key;
  if (wish.issuer != nullptr) {
    issuer = std::move(parse_certificates(wish.issuer->certificate).value().front());
    issuer_key = parse_private_key(wish.issuer->key).value();
  }
  X509* const by = issuer ? issuer.get() : certificate.get();
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(by));
  add_extension(certificate.get(), by, NID_basic_constraints,
                wish.is_authority ? "critical,CA:TRUE" : "CA:FALSE");
  std::string names;
  for (const auto& dns : wish.dns_names) names += (names.empty() ? "DNS:" : ",DNS:") + dns;
  if (!names.empty()) add_extension(certificate.get(), by, NID_subject_alt_name, names);
  X509_sign(certificate.get(), issuer_key ? issuer_key.get() : key.get(), EVP_sha256());

  MadeCertificate made;
  made.certificate = pem_of([&](BIO* out) { PEM_write_bio_X509(out, certificate.get()); });
  made.key = pem_of([&](BIO* out) {
    PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  return made;
}

}  // namespace postern::tls
